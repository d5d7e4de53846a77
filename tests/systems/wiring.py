"""The shop in one process, wired by hand: every service on its own database, a bus, relays, and clients that encode."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from shop_database import PLACE

from archstone import context, world
from archstone.cache import Cache
from archstone.context import Principal
from archstone.data import Database, Envelope
from archstone.messaging import Bus, Relay
from archstone.runtime import DataFolder, Embedded, Settings, database_url
from archstone.runtime import running as running_anywhere
from archstone.security import (
    Audits,
    Cost,
    FileAnchor,
    KeyFile,
    KeyRingFile,
    Passkeys,
    Passwords,
    SigningKeys,
    Tokens,
)
from archstone.security.encryption import DataKeys, RootKeys
from archstone.services import Dispatcher, EventRoute, InProcess, System, client, event_routes, periodic
from archstone.systems.shop.checkout import CheckoutForm
from archstone.systems.shop.notifications.mailer import FileMailer, Mailer
from archstone.systems.shop.notifications.site import Site
from archstone.systems.shop.orders.contract import Orders, OrderView
from archstone.systems.shop.payments.bank import Bank
from archstone.systems.shop.payments.guard import GuardedProvider
from archstone.systems.shop.programs.programs import Programs
from archstone.systems.shop.providers import POLICY
from archstone.systems.shop.roles import ROLES
from archstone.systems.shop.shipping.service import Pace
from archstone.systems.shop.system import shop
from archstone.systems.shop.users.contract import User, UserWrite
from archstone.systems.shop.users.safeguards import Safeguards
from archstone.systems.shop.values import Address, Line
from archstone.systems.shop.window import KEEP_S, Window

C = TypeVar("C")

ROOTS = RootKeys([bytes(32)])
SERVICE = Principal("service:orders", frozenset({"service"}))
AT_LEISURE = Pace()
HOME = Address(name="Ann Alder", street="Mill Lane 1", city="Tarn", postcode="12345", country="DE")


@dataclass
class RunningShop:
    """The shop while it runs."""

    data: Path
    bank: Bank
    mailer: FileMailer
    guard: GuardedProvider
    window: Window
    dispatchers: dict[str, Dispatcher] = field(default_factory=dict)
    bus: Bus | None = None
    released: asyncio.Event = field(default_factory=asyncio.Event)
    """Set it to let what is held be handled."""
    handled: list[tuple[str, str]] = field(default_factory=list)
    """Groups and events that they have handled, in order."""

    def client(self, contract: type[C], *, as_: Principal | None = None) -> C:
        """Return a client of `contract`."""
        keeper = shop.keeper(contract).service_info.name
        return client(contract, InProcess(self.dispatchers[keeper], encode=True, as_=as_ or Principal()))

    def database(self, service: str) -> Database:
        """Return the database of a service, to look behind it."""
        return self.dispatchers[service].service.db

    async def register(self, email: str, name: str = "Ann") -> Principal:
        """Register a customer and return who that is."""
        user: User = await self.client(UserWrite).register(email, "a quiet evening", name)
        return Principal(user.id, frozenset(user.roles))

    async def place(
        self, who: Principal, *lines: tuple[str, int], token: str = "tok_ok", key: str | None = None
    ) -> str:
        """Place an order and return its id."""
        with keyed(key or world.new_id()):
            wanted = tuple(Line(sku=sku, quantity=quantity) for sku, quantity in lines)
            return (await self.client(Orders, as_=who).place(wanted, HOME, token)).id

    async def ended(self, who: Principal, order_id: str) -> OrderView:
        """Return an order once it is confirmed or cancelled."""
        return await self.until(who, order_id, lambda view: view.status != "pending")

    async def until(self, who: Principal, order_id: str, arrived: Callable[[OrderView], bool]) -> OrderView:
        """Return an order once `arrived` says so."""
        orders = self.client(Orders, as_=who)
        for _ in range(20_000):
            view = await orders.order(order_id)
            if arrived(view):
                return view
            await asyncio.sleep(0.05)
        raise AssertionError(f"order {order_id} does not arrive: {view}")

    async def at_rest(self) -> None:
        """Return once no event is under way and no saga runs."""
        await eventually(self._quiet)

    async def _quiet(self) -> bool:
        for dispatcher in self.dispatchers.values():
            if await dispatcher.service.db.one(int, "SELECT count(*) FROM _archstone_outbox"):
                return False
            if dispatcher.sagas is not None and dispatcher.sagas.statistics().running:
                return False
            if self.bus is not None and await self.bus.depth(dispatcher.service.name):
                return False
        return True


def keyed(key: str) -> Any:
    """Return a block whose commands carry this idempotency key."""
    return context.enter(context.current()._replace(key=key))


async def eventually(true: Callable[[], Awaitable[bool]]) -> None:
    """Return once `true` is, twice in a row: between two events there can be a moment of rest."""
    calm = 0
    for _ in range(20_000):
        calm = calm + 1 if await true() else 0
        if calm == 3:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it never came true")


@asynccontextmanager
async def running_shop(
    data: Path,
    *,
    mailer: Any = None,
    bank: Any = None,
    cache: str = "memory:",
    pace: Pace = AT_LEISURE,
    form: CheckoutForm = CheckoutForm.SAGA,
    held: Collection[tuple[str, str]] = (),
    times: int = 1,
    admins_need_factor: bool = False,
    sign_up_by_mail: bool = False,
) -> AsyncIterator[RunningShop]:
    """Run the shop in `data` until the block ends.

    Args:
        data: Its folder, which may be that of a shop that ran before.
        mailer: None: one that writes files.
        bank: None: the embedded one.
        cache: Where what is only looked at is kept near.
        pace: Of parcels.
        form: Who carries new orders to their end.
        held: Groups and events that they do not handle before `RunningShop.released` is set.
        times: How often each event is given to each handler.
        admins_need_factor: Whether administrators are none until they have a second factor.
        sign_up_by_mail: Whether accounts are made only for who reads mail at their address.
    """
    PLACE.furnish(data)
    async with AsyncExitStack() as stack:
        guard = await stack.enter_async_context(GuardedProvider(bank or Bank(f"sqlite:///{data / 'bank.db'}")))
        window = await stack.enter_async_context(Window(Cache(cache, name="shop", ttl_s=KEEP_S)))
        mailer = await stack.enter_async_context(mailer or FileMailer(data / "mails"))
        passwords = await stack.enter_async_context(Passwords(cost=Cost(memory_kib=64, passes=1), policy=POLICY))
        anchor = FileAnchor(data / "audit-anchor.json")
        audits = await stack.enter_async_context(Audits(f"sqlite:///{data / 'audit.db'}", anchor=anchor))
        safe = Safeguards(
            keys=KeyFile(data / "factors-key.json").load(),
            passkeys=Passkeys(rp_id="shop.test", rp_name="Shop", origins=["https://shop.test"]),
            admins_need_factor=admins_need_factor,
            sign_up_by_mail=sign_up_by_mail,
        )
        tokens = Tokens(SigningKeys.generate(), issuer="shop", audience="shop-api")
        keys = DataKeys(await stack.enter_async_context(Database(f"sqlite:///{data / 'datakeys.db'}")), ROOTS)
        await keys.open()
        await keys.ring("shipping")
        stack.push_async_callback(keys.close)
        programs = Programs(
            Database(database_url(PLACE.url(data), DataFolder(data, shop.name), "programs"), name="programs"),
            pepper=KeyFile(data / "api-keys.json").load(),
            ring=KeyRingFile(data / "oauth-keys.json").renewed,
            issuer="https://shop.test/oauth",
            api="shop-api",
            audits=audits,
        )
        await stack.enter_async_context(programs)
        given = {
            Programs: programs,
            DataKeys: keys,
            Passwords: passwords, Tokens: tokens, Audits: audits, Safeguards: safe, GuardedProvider: guard,
            Mailer: mailer, Site: Site("https://shop.test"), Pace: pace, CheckoutForm: form, Window: window,
        }  # fmt: skip
        run = RunningShop(data, cast("Bank", guard.provider), mailer, guard, window)
        access = ROLES.guard()
        transports: dict[type, InProcess] = {each: InProcess(encode=True) for each in shop.contracts}
        for service in shop.services:
            info = service.service_info
            url = database_url(PLACE.url(data), DataFolder(data, shop.name), info.name)
            db = await stack.enter_async_context(
                Database(url, migrations=info.migrations, schemas=service.schemas, name=info.name)
            )
            fields = {each.name: given.get(each.type) or client(each.type, transports[each.type])
                      for each in info.fields if each.kind != "database"}  # fmt: skip
            dispatcher = run.dispatchers[info.name] = Dispatcher(service(db=db, **fields), access=access)
            await dispatcher.open()
            for contract in info.contracts:
                transports[contract].connect(dispatcher)
        bus = run.bus = await stack.enter_async_context(Bus(f"sqlite:///{data / 'bus.db'}"))
        for dispatcher in run.dispatchers.values():
            for route in event_routes(dispatcher):
                bus.subscribe(route.topic, route.group, told(run, route, held=held, times=times), names=route.names)
        await bus.start()
        for dispatcher in run.dispatchers.values():
            await dispatcher.start()
            stack.push_async_callback(dispatcher.close)
            stack.push_async_callback(dispatcher.drain)
            await stack.enter_async_context(Relay(dispatcher.service.db, bus))
        for dispatcher in run.dispatchers.values():
            for work in periodic(dispatcher):
                task = asyncio.create_task(work.run())
                stack.push_async_callback(cancelled, task)
        stack.push_async_callback(bus.drain)
        yield run


@asynccontextmanager
async def running(
    system: System, *, data: Path, settings: Settings | None = None, **more: Any
) -> AsyncIterator[Embedded]:
    """Run a system as `archstone.runtime.running` does, on the database of its folder."""
    if system.services == shop.services:
        PLACE.furnish(data)
    settings = (settings or Settings()).model_copy(update={"database_url": PLACE.url(data)})
    async with running_anywhere(system, data=data, settings=settings, **more) as run:
        yield run


def told(
    run: RunningShop, route: EventRoute, *, held: Collection[tuple[str, str]], times: int
) -> Callable[[Envelope], Coroutine[Any, Any, None]]:
    """Return the handler of a route which keeps back what is held, and notes what it has handled."""

    async def handle(envelope: Envelope) -> None:
        if (route.group, envelope.name) in held:
            await run.released.wait()
        for _ in range(times):
            await route.handle(envelope)
        run.handled.append((route.group, envelope.name))

    return handle


async def cancelled(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end."""
    task.cancel()
    await asyncio.wait([task])
