"""What services and systems refuse when they are made, and what they know of themselves."""

import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest
from contract_cases import Inventory, InventoryService
from services_cast import Bank, BankService, Books, BooksService, SaleMade, Till, TillService

from archstone.data import Database
from archstone.errors import ConfigError
from archstone.sagas import saga
from archstone.services import SIGNED_IN, Contract, Dispatcher, Environment, Service, System, command, every, on, query


class Clock:
    pass


class Timely(Contract, version="1.0"):
    @query("/sales/{number}", public=True, requires=SIGNED_IN)
    async def number(self, number: int) -> int: ...

    @command("/sales", public=True, requires=SIGNED_IN)
    async def again(self) -> int: ...


class TimelyService(Service, Timely):
    clock: Clock
    zone: str = "UTC"
    limit: ClassVar[int] = 5

    async def number(self, number: int) -> int:
        return number

    async def again(self) -> int:
        return 0


def test_a_service_knows_its_name_fields_and_contracts() -> None:
    info = TimelyService.service_info
    assert (info.name, info.contracts) == ("timely", (Timely,))
    assert [(field.name, field.kind, field.required) for field in info.fields] == [
        ("db", "database", True),
        ("clock", "provided", True),
        ("zone", "provided", False),
    ]
    assert [operation.full_name for operation in info.operations] == ["Timely.number", "Timely.again"]
    assert info.principal.id == "service:timely"


def test_a_service_is_made_of_its_fields() -> None:
    db, clock = Database("sqlite:///never.db"), Clock()
    service = TimelyService(db=db, clock=clock)
    assert (service.db, service.clock, service.zone, service.name) == (db, clock, "UTC", "timely")


def test_a_service_can_be_named() -> None:
    class Renamed(Service, Bank, name="treasury"):
        async def charge(self, account: str, amount: int) -> int:
            return 0

        async def refund(self, account: str, amount: int) -> None: ...

    assert Renamed.service_info.name == "treasury"


def test_all_faults_of_a_service_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:

        class _Wrong(Service, Till):
            @saga()
            async def state(self, sale: str) -> str:
                return sale

            async def sell(self, wrong: str) -> None:  # pyright: ignore[reportCallIssue, reportArgumentType, reportIncompatibleMethodOverride]
                ...

            @on(SaleMade)
            async def note(self, event: SaleMade, more: int) -> None: ...  # pyright: ignore[reportCallIssue, reportArgumentType, reportIncompatibleMethodOverride]

            @every(5)
            async def tick(self, what: int) -> None: ...

    assert str(caught.value).splitlines() == [
        "_Wrong.sell(wrong): the contract has (sale, account, amount): take the same, in order",
        "_Wrong.sell_later: Till.sell_later is promised and not kept: write the method",
        "_Wrong.state: a query cannot be a @saga, since it has no effect: make it a command",
        "_Wrong.note: a handler takes the event and nothing else",
        "_Wrong.tick: nobody gives arguments to periodic work: take none",
    ]


def test_periodic_work_needs_a_period() -> None:
    for seconds in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="above 0 and finite"):
            every(seconds)


def test_a_dispatcher_runs_what_its_service_keeps() -> None:
    dispatcher = Dispatcher(TimelyService(db=Database("sqlite:///never.db"), clock=Clock()))
    assert dispatcher.sagas is None
    assert dispatcher.principal.roles == {"service"}


def test_a_system_knows_its_contracts_events_and_keepers() -> None:
    system = System("little", services=[BankService, TillService, BooksService])
    assert system.contracts == (Bank, Till, Books)
    assert system.keeper(Till) is TillService
    assert system.events == (SaleMade,)
    assert len(system.operations) == 6
    with pytest.raises(ConfigError, match="no service keeps Inventory"):
        system.keeper(Inventory)


def test_all_faults_of_a_system_are_told_at_once() -> None:
    class OtherBank(BankService, name="bank"):
        pass

    with pytest.raises(ConfigError) as caught:
        System("Little", services=[BankService, OtherBank, TimelyService, BooksService])
    told = str(caught.value)
    assert told.splitlines() == [
        "system 'Little': its name must be lower case letters, digits and dashes, such as web-shop",
        "two services are named 'bank': write class X(Service, ..., name=...)",
        "Bank is kept by BankService and OtherBank: one service keeps a contract",
        "TimelyService.clock: nobody makes a Clock: add it to provide={Clock: ...}",
    ]


def test_two_public_routes_of_one_shape_clash() -> None:
    with pytest.raises(ConfigError, match=r"POST /sales is claimed by Till\.sell and Timely\.again: change one path"):
        System(
            "little", services=[BankService, TillService, TimelyService], provide={Clock: lambda _environment: Clock()}
        )


def test_a_client_without_a_service_is_told() -> None:
    with pytest.raises(ConfigError, match=r"TillService\.bank: no service keeps Bank: add one"):
        System("little", services=[TillService])


def test_an_environment_tells_a_provider_where_it_runs(tmp_path: Path) -> None:
    environment = Environment(system="little", data=tmp_path, settings={"zone": "UTC"})
    assert (environment.system, environment.data, environment.settings["zone"]) == ("little", tmp_path, "UTC")


USER = """
from archstone.data import Database
from archstone.services import ANYONE, Contract, Dispatcher, Service, client, command, options, query

class Greetings(Contract, version="1.0"):
    @query("/greetings/{name}", requires=ANYONE)
    async def greet(self, name: str, *, loud: bool = False) -> str: ...

    @command("/greetings")
    async def keep(self, name: str) -> int: ...

class Desk(Contract, version="1.0"):
    @query("/desk")
    async def ask(self) -> str: ...

class GreetingsService(Service, Greetings):
    async def greet(self, name: str, *, loud: bool = False) -> str:
        return name.upper() if loud else name

    async def keep(self, name: str) -> int:
        return await self.tx.execute("INSERT INTO names VALUES (:name)", name=name)

class DeskService(Service, Desk):
    greetings: Greetings

    async def ask(self) -> str:
        answer: str = await options(self.greetings, timeout_s=1).greet("ann", loud=True)
        return answer

desk = DeskService(db=Database("sqlite:///x.db"), greetings=client(Greetings, Dispatcher(GreetingsService(
    db=Database("sqlite:///y.db")))))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "checker",
    [
        ["pyright", "-p", "pyrightconfig.json", "--pythonpath", sys.executable],
        ["mypy", "--strict", "--disable-error-code=empty-body"],
    ],
)
def test_a_users_code_passes_strict_type_checkers(tmp_path: Path, checker: list[str]) -> None:
    (tmp_path / "user.py").write_text(USER)
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict", "include": ["user.py"]}')
    command = [sys.executable, "-m", *checker, *(["user.py"] if checker[0] == "mypy" else [])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_inventory_of_the_cases_is_a_service() -> None:
    assert InventoryService.service_info.name == "inventory"


def _module_beside(folder: Path, name: str) -> type[Service]:
    """Make a service in a module of its own, with the file `folder/name.py`."""
    module = type(sys)(f"tests_beside_{folder.name}_{name}")
    module.__file__ = str(folder / f"{name}.py")
    sys.modules[module.__name__] = module
    return type(f"{name.title()}Service", (Service,), {"__module__": module.__name__}, name=name)


def test_services_that_share_a_folder_of_migrations_are_refused(tmp_path: Path) -> None:
    (tmp_path / "migrations").mkdir()
    services = [_module_beside(tmp_path, "letters"), _module_beside(tmp_path, "parcels")]
    with pytest.raises(ConfigError, match=r"LettersService and ParcelsService share .*migrations: put each service"):
        System("post", services=services)


def test_services_without_migrations_may_live_side_by_side(tmp_path: Path) -> None:
    assert System("post", services=[_module_beside(tmp_path, "letters"), _module_beside(tmp_path, "parcels")])
