"""The checkout of the shop in process: every test token, every way back, and the invariants after each."""

import asyncio
from pathlib import Path

import pytest
from shop_database import faults_in
from wiring import HOME, SERVICE, keyed, running_shop

from archstone.data import Database
from archstone.services import KeyReusedError
from archstone.systems.shop.catalog.contract import UnknownProductError
from archstone.systems.shop.checkout import CheckoutForm
from archstone.systems.shop.inventory.contract import Inventory, OutOfStockError, ReservationClosedError
from archstone.systems.shop.inventory.service import HOLD_S
from archstone.systems.shop.notifications.mail import Mail
from archstone.systems.shop.notifications.mailer import FileMailer, MailerError
from archstone.systems.shop.payments.bank import Bank
from archstone.systems.shop.payments.contract import NoInvoiceError, Payments
from archstone.systems.shop.payments.provider import PaymentDeclinedError, PaymentKey, PaymentToken, Receipt
from archstone.systems.shop.shipping.contract import Shipping
from archstone.systems.shop.values import Line, Money


@pytest.mark.both_databases
async def test_an_order_is_confirmed_with_money_goods_parcel_and_one_mail(tmp_path: Path, form: CheckoutForm) -> None:
    async with running_shop(tmp_path, form=form) as shop:
        ann = await shop.register("Ann@Example.com")
        order_id = await shop.place(ann, ("KIT-001", 2), ("DES-003", 1))
        view = await shop.ended(ann, order_id)
        await shop.at_rest()
        invoice = await shop.client(Payments, as_=ann).invoice(order_id)
        stock = await shop.client(Inventory).stock("KIT-001")
        assert await shop.bank.balance("shop") == view.total.amount
    assert (view.status, view.reason) == ("confirmed", None)
    assert view.total.amount == 2 * 3990 + 1450
    assert [entry.what for entry in view.timeline] == ["placed", "confirmed"]
    assert (invoice.number, invoice.amount, invoice.state) == ("INV-000001", view.total, "captured")
    assert stock.held == 0
    [mail] = (tmp_path / "mails").iterdir()
    text = mail.read_text()
    assert "To: ann@example.com" in text
    assert f"Your order {order_id[-8:]} is confirmed" in text
    assert "2 x " in text
    assert "94.30 EUR" in text
    assert faults_in(tmp_path) == []


@pytest.mark.parametrize(
    ("token", "reason"),
    [("tok_declined", "payment declined: insufficient funds"), ("tok_stolen", "payment declined: unknown card")],
)
@pytest.mark.both_databases
async def test_a_declined_payment_ends_the_order_with_the_reason(
    tmp_path: Path, form: CheckoutForm, token: str, reason: str
) -> None:
    async with running_shop(tmp_path, form=form) as shop:
        ann = await shop.register("ann@example.com")
        view = await shop.ended(ann, await shop.place(ann, ("KIT-001", 2), token=token))
        await shop.at_rest()
        stock = await shop.client(Inventory).stock("KIT-001")
        assert (
            await shop.database("inventory").one(int, "SELECT initial FROM stock WHERE sku = 'KIT-001'") == stock.free
        )
        with pytest.raises(NoInvoiceError):
            await shop.client(Payments, as_=ann).invoice(view.id)
    assert (view.status, view.reason) == ("cancelled", reason)
    [mail] = (tmp_path / "mails").iterdir()
    assert reason in mail.read_text()
    assert faults_in(tmp_path) == []


@pytest.mark.parametrize("token", ["tok_timeout", "tok_flaky"])
async def test_a_bank_that_does_not_answer_at_first_is_asked_again_and_takes_the_money_once(
    tmp_path: Path, form: CheckoutForm, token: str
) -> None:
    async with running_shop(tmp_path, form=form) as shop:
        ann = await shop.register("ann@example.com")
        view = await shop.ended(ann, await shop.place(ann, ("KIT-001", 1), token=token))
        await shop.at_rest()
        assert await shop.bank.db.one(int, "SELECT count(*) FROM captures") == 1
    assert view.status == "confirmed"
    assert faults_in(tmp_path) == []


async def test_more_than_there_is_ends_the_order_with_the_product_named(tmp_path: Path, form: CheckoutForm) -> None:
    async with running_shop(tmp_path, form=form) as shop:
        ann = await shop.register("ann@example.com")
        await shop.database("inventory").execute("UPDATE stock SET free = 3, initial = 3 WHERE sku = 'KIT-001'")
        view = await shop.ended(ann, await shop.place(ann, ("DES-001", 1), ("KIT-001", 4)))
        await shop.at_rest()
        assert (await shop.client(Inventory).stock("DES-001")).held == 0
    assert (view.status, view.reason) == ("cancelled", "out of stock: KIT-001")
    assert faults_in(tmp_path) == []


async def test_fifty_customers_for_twenty_pieces_sell_exactly_twenty(tmp_path: Path, form: CheckoutForm) -> None:
    async with running_shop(tmp_path, form=form) as shop:
        ann = await shop.register("ann@example.com")
        await shop.database("inventory").execute("UPDATE stock SET free = 20, initial = 20 WHERE sku = 'KIT-001'")
        placed = await asyncio.gather(*(shop.place(ann, ("KIT-001", 1)) for _ in range(50)))
        views = [await shop.ended(ann, order_id) for order_id in placed]
        await shop.at_rest()
        stock = await shop.client(Inventory).stock("KIT-001")
    assert sum(view.status == "confirmed" for view in views) == 20
    assert (stock.free, stock.held) == (0, 0)
    assert faults_in(tmp_path) == []


async def test_the_same_key_is_one_order_and_other_arguments_are_refused(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.com")
        one = await shop.place(ann, ("KIT-001", 1), key="k")
        assert await shop.place(ann, ("KIT-001", 1), key="k") == one
        with pytest.raises(KeyReusedError):
            await shop.place(ann, ("KIT-001", 2), key="k")
        await shop.ended(ann, one)
        await shop.at_rest()
        assert await shop.database("orders").one(int, "SELECT count(*) FROM orders") == 1


async def test_an_unknown_product_is_refused_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.com")
        with pytest.raises(UnknownProductError):
            await shop.place(ann, ("KIT-001", 1), ("NO-SUCH", 1))
        assert await shop.database("orders").one(int, "SELECT count(*) FROM orders") == 0


class ClosedPost(FileMailer):
    """A mailer that fails twice."""

    calls = 0

    async def send(self, mail: Mail) -> None:
        self.calls += 1
        if self.calls <= 2:
            raise MailerError("post", mail.id, "the post is closed")
        await super().send(mail)


async def test_a_mail_that_fails_is_sent_again_until_it_is_sent_once(tmp_path: Path) -> None:
    async with running_shop(tmp_path, mailer=ClosedPost(tmp_path / "mails")) as shop:
        ann = await shop.register("ann@example.com")
        await shop.ended(ann, await shop.place(ann, ("KIT-001", 1)))
        await shop.at_rest()
        assert (shop.mailer.sends, shop.mailer.repeats) == (1, 0)
    assert faults_in(tmp_path) == []


class SlowBank(Bank):
    """A bank that keeps everybody waiting before it does anything."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.open = asyncio.Event()

    async def charge(self, key: PaymentKey, amount: Money, token: PaymentToken) -> Receipt:
        await self.open.wait()
        return await super().charge(key, amount, token)


async def test_a_reservation_that_expired_during_the_payment_is_taken_again(tmp_path: Path, form: CheckoutForm) -> None:
    bank = SlowBank(f"sqlite:///{tmp_path / 'bank.db'}")
    async with running_shop(tmp_path, bank=bank, form=form) as shop:
        ann = await shop.register("ann@example.com")
        order_id = await shop.place(ann, ("KIT-001", 2))
        await let_expire(shop.database("inventory"))
        bank.open.set()
        view = await shop.ended(ann, order_id)
        await shop.at_rest()
    assert view.status == "confirmed"
    assert faults_in(tmp_path) == []


async def test_a_bank_that_never_answers_ends_the_order_without_money(tmp_path: Path, form: CheckoutForm) -> None:
    bank = SlowBank(f"sqlite:///{tmp_path / 'bank.db'}")
    async with running_shop(tmp_path, bank=bank, form=form) as shop:
        ann = await shop.register("ann@example.com")
        view = await shop.ended(ann, await shop.place(ann, ("KIT-001", 2)))
        await shop.at_rest()
        bank.open.set()
        with pytest.raises(PaymentDeclinedError, match="called off"):
            await bank.charge(view.id, view.total, "tok_ok")
        assert await bank.balance("shop") == 0
    assert (view.status, view.reason) == ("cancelled", "the checkout could not be completed")
    assert faults_in(tmp_path) == []


async def test_goods_that_are_gone_when_the_payment_is_through_are_refunded(tmp_path: Path, form: CheckoutForm) -> None:
    bank = SlowBank(f"sqlite:///{tmp_path / 'bank.db'}")
    async with running_shop(tmp_path, bank=bank, form=form) as shop:
        ann = await shop.register("ann@example.com")
        order_id = await shop.place(ann, ("KIT-001", 2))
        inventory = shop.database("inventory")
        await let_expire(inventory)
        await inventory.execute("UPDATE stock SET free = 1, initial = 1 WHERE sku = 'KIT-001'")
        bank.open.set()
        view = await shop.ended(ann, order_id)
        await shop.at_rest()
        assert await bank.balance("shop") == 0
        assert await bank.db.one(int, "SELECT count(*) FROM refunds") == 1
    assert (view.status, view.reason) == ("cancelled", "out of stock: KIT-001")
    assert faults_in(tmp_path) == []


async def let_expire(inventory: Database) -> None:
    """Wait until the only reservation is held, and let its time pass as a long downtime would."""
    while not await inventory.execute("UPDATE reservations SET expires_at = 0 WHERE state = 'held'"):
        await asyncio.sleep(0.01)
    while await inventory.one(int, "SELECT sum(held) FROM stock"):
        await asyncio.sleep(1)


@pytest.mark.sqlite_only("minutes of virtual time, in each second of which every service looks for work")
async def test_goods_come_back_by_themselves_after_a_quarter_of_an_hour(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        inventory = shop.client(Inventory, as_=SERVICE)
        with keyed("k"):
            await inventory.reserve("a" * 32, (Line(sku="KIT-001", quantity=5),))
        before = await inventory.stock("KIT-001")
        await asyncio.sleep(HOLD_S - 1)
        assert await inventory.stock("KIT-001") == before
        await asyncio.sleep(7)
        after = await inventory.stock("KIT-001")
        assert (after.held, after.free) == (0, before.free + 5)
        await inventory.release("a" * 32)
        assert await inventory.stock("KIT-001") == after


async def test_what_was_given_up_cannot_be_reserved_charged_or_sent_by_a_late_call(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        order = "a" * 32
        inventory = shop.client(Inventory, as_=SERVICE)
        payments = shop.client(Payments, as_=SERVICE)
        shipping = shop.client(Shipping, as_=SERVICE)
        await inventory.release(order)
        await payments.refund(order)
        await shipping.cancel(order)
        with pytest.raises(ReservationClosedError):
            await inventory.reserve(order, (Line(sku="KIT-001", quantity=1),))
        with pytest.raises(ReservationClosedError):
            await inventory.commit(order)
        with pytest.raises(PaymentDeclinedError, match="called off"):
            await payments.charge(order, "b" * 32, Money(amount=100), "tok_ok")
        with pytest.raises(Exception, match="no parcel"):
            await shipping.create(order, HOME)
        assert await shop.bank.balance("shop") == 0


async def test_every_command_between_services_may_be_repeated(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        order = "a" * 32
        inventory = shop.client(Inventory, as_=SERVICE)
        payments = shop.client(Payments, as_=SERVICE)
        shipping = shop.client(Shipping, as_=SERVICE)
        lines = (Line(sku="KIT-001", quantity=2), Line(sku="DES-001", quantity=1))
        before = await inventory.stock("KIT-001")
        assert await inventory.reserve(order, lines) == await inventory.reserve(order, lines)
        for _ in range(2):
            await inventory.commit(order)
            await payments.charge(order, "b" * 32, Money(amount=100), "tok_ok")
            await shipping.create(order, HOME)
        assert (await inventory.stock("KIT-001")).free == before.free - 2
        assert await shop.bank.balance("shop") == 100
        for _ in range(2):
            await shipping.cancel(order)
            await payments.refund(order)
            await inventory.release(order)
        assert await inventory.stock("KIT-001") == before
        assert await shop.bank.balance("shop") == 0
        with pytest.raises(OutOfStockError, match="KIT-001"):
            await inventory.reserve(
                "c" * 32, (Line(sku="DES-001", quantity=1), *[Line(sku="KIT-001", quantity=99)] * 9)
            )
        assert (await inventory.stock("DES-001")).held == 0
