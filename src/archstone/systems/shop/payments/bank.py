"""A bank in a file: the embedded payment provider, for tests and for a shop that is tried out.

It holds accounts, authorises, captures and refunds, whole or in parts, once per key, and keeps a double-entry ledger
that sums to zero after every transaction. Test tokens choose what it does:

    tok_ok        takes the money
    tok_declined  refuses: insufficient funds
    tok_timeout   takes the money and then keeps the caller waiting, the first time
    tok_flaky     fails twice without an answer, then takes the money
    all others    refuses: unknown card

An operator can have it behave badly, for all tokens (`turn`, see `conduct.py`); it stays so over a restart.

It is not a payment provider for real money: plug one in (see `provider.py`).
"""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, NamedTuple, Self, TypeAlias, cast

from archstone import world
from archstone.data import Database, Transaction
from archstone.systems.shop.payments.conduct import Conduct, Mode
from archstone.systems.shop.payments.provider import (
    Authorisation,
    PaymentDeclinedError,
    PaymentKey,
    PaymentToken,
    ProviderUnreachableError,
    Receipt,
    RefundRefusedError,
)
from archstone.systems.shop.values import Money

__all__ = ["Bank"]

MIGRATIONS: Final = Path(__file__).parent / "bank_migrations"
FLAKY_FAILURES: Final = 2
DECLINES: Final = {"tok_declined": "insufficient funds"}
TAKES: Final = frozenset({"tok_ok", "tok_timeout", "tok_flaky"})
CALLED_OFF: Final = "the payment was called off"

AFTER_CAPTURE: Final = world.declare_point(
    "shop.bank_after_capture", "the bank has taken the money, on disk; the shop has not heard of it"
)
AFTER_REFUND: Final = world.declare_point(
    "shop.bank_after_refund", "the bank has given the money back, on disk; the shop has not heard of it"
)
AFTER_PART_REFUND: Final = world.declare_point(
    "shop.bank_after_part_refund", "the bank has given a part of the money back, on disk; the shop has not heard of it"
)
_LEFT: Final = (
    "SELECT coalesce((SELECT amount FROM captures WHERE key = :key), 0)"
    " - coalesce((SELECT sum(amount) FROM refunds WHERE key = :key), 0)"
)
_GIVEN: Final = "SELECT key, amount, currency FROM refunds WHERE id = :id"
_KNOWN: Final = (
    "SELECT key, state, amount, currency, reason, at,"
    " coalesce((SELECT amount FROM captures c WHERE c.key = a.key), 0) AS captured,"
    " coalesce((SELECT sum(amount) FROM refunds r WHERE r.key = a.key), 0) AS refunded"
    " FROM authorisations a WHERE key = :key"
)


_State: TypeAlias = Literal["open", "declined", "captured", "refunded", "void"]


class _Authorisation(NamedTuple):
    token: str
    amount: int
    currency: str
    state: str
    reason: str
    attempts: int


class _Known(NamedTuple):
    key: str
    state: str
    amount: int
    currency: str
    reason: str
    at: int
    captured: int
    refunded: int

    def authorisation(self) -> Authorisation:
        def money(amount: int) -> Money:
            return Money(amount=amount, currency=self.currency)

        return Authorisation(
            key=self.key, state=cast("_State", self.state), amount=money(self.amount), reason=self.reason,
            captured=money(self.captured), refunded=money(self.refunded),
            at=datetime.fromtimestamp(self.at / 1_000_000, UTC),
        )  # fmt: skip


class _Outcome(NamedTuple):
    """What a transaction decided. Errors are raised after it is durable: inside, they would undo what they report."""

    receipt: Receipt | None = None
    error: Exception | None = None
    slow: bool = False


class Bank:
    """The provider. `async with` opens and closes its file."""

    def __init__(self, url: str, *, slow_answer_s: float = 5.0) -> None:
        """Name the file; nothing opens yet.

        Args:
            url: `sqlite:///bank.db`, as `Database` takes it.
            slow_answer_s: Seconds that `tok_timeout`, and the bank when it is slow, keep a caller waiting. At least 0.
        """
        self.db = Database(url, migrations=MIGRATIONS, name="bank")
        self._slow_answer_s = slow_answer_s
        self.conduct = Conduct(slow_answer_s=slow_answer_s)
        """How it behaves, and how often it was asked."""

    async def __aenter__(self) -> Self:
        await self.db.__aenter__()
        self.conduct.turn(cast("Mode", await self.db.one(str, "SELECT mode FROM conduct")))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.db.__aexit__(kind, error, traceback)

    async def turn(self, mode: Mode) -> None:
        """Behave so from now on, and after the next start."""
        await self.db.execute("UPDATE conduct SET mode = :mode", mode=mode)
        self.conduct.turn(mode)

    async def charge(self, key: PaymentKey, amount: Money, token: PaymentToken) -> Receipt:
        """Authorise and capture `amount`, once per key. See `PaymentProvider.charge`."""
        async with self.conduct.call("charge"):
            return await self._charge(key, amount, token)

    async def _charge(self, key: PaymentKey, amount: Money, token: PaymentToken) -> Receipt:
        async with self.db.transaction() as tx:
            known = await _find(tx, key)
            if known is None:
                outcome = await _authorise(tx, key, amount=amount, token=token)
            else:
                outcome = await _repeat(tx, key, known=known, amount=amount, token=token)
        if outcome.error is not None:
            raise outcome.error
        world.point(AFTER_CAPTURE)
        if outcome.slow:
            await asyncio.sleep(self._slow_answer_s)
        assert outcome.receipt is not None  # every outcome holds one or the other
        return outcome.receipt

    async def refund(self, key: PaymentKey) -> Receipt:
        """Give back what was captured and close the key. See `PaymentProvider.refund`."""
        async with self.conduct.call("refund"):
            async with self.db.transaction() as tx:
                known = await _find(tx, key)
                receipt = await _give_back(tx, key, known)
            world.point(AFTER_REFUND)
            return receipt

    async def refund_part(self, key: PaymentKey, refund_id: PaymentKey, amount: Money) -> Receipt:
        """Give back `amount`, once per `refund_id`. See `PaymentProvider.refund_part`."""
        async with self.conduct.call("refund_part"):
            async with self.db.transaction() as tx:
                known = await _find(tx, key)
                receipt = await _give_part(tx, key, known, refund_id=refund_id, amount=amount)
            world.point(AFTER_PART_REFUND)
            return receipt

    async def look_up(self, key: PaymentKey) -> Authorisation | None:
        """Return what is known of a key. See `PaymentProvider.look_up`."""
        async with self.conduct.call("look_up"):
            found = await self.db.first(_Known, _KNOWN, key=key)
            return None if found is None else found.authorisation()

    async def balance(self, account: str) -> int:
        """Return what the ledger says an account holds, in minor units. An unknown account holds 0."""
        return await self.db.one(int, "SELECT coalesce(sum(amount), 0) FROM ledger WHERE account = :id", id=account)


async def _find(tx: Transaction, key: str) -> _Authorisation | None:
    return await tx.first(
        _Authorisation,
        "SELECT token, amount, currency, state, reason, attempts FROM authorisations WHERE key = :key",
        key=key,
    )


async def _authorise(tx: Transaction, key: str, *, amount: Money, token: str) -> _Outcome:
    """Decide about a key that was never seen."""
    if token not in TAKES:
        reason = DECLINES.get(token, "unknown card")
        await _remember(tx, key, amount=amount, token=token, state="declined", reason=reason)
        return _Outcome(error=PaymentDeclinedError(reason))
    if amount.amount == 0:
        await _remember(tx, key, amount=amount, token=token, state="declined", reason="nothing to pay")
        return _Outcome(error=PaymentDeclinedError("nothing to pay"))
    if token == "tok_flaky":  # noqa: S105
        await _remember(tx, key, amount=amount, token=token, state="open")
        return _Outcome(error=_no_answer(1))
    await _remember(tx, key, amount=amount, token=token, state="open")
    receipt = await _capture(tx, key, amount=amount, token=token)
    return _Outcome(receipt, slow=token == "tok_timeout")  # noqa: S105


async def _repeat(tx: Transaction, key: str, *, known: _Authorisation, amount: Money, token: str) -> _Outcome:
    """Answer for a key that was seen before: say what was done, or go on with a flaky card."""
    if (known.amount, known.currency, known.token) != (amount.amount, amount.currency, token) and known.state != "void":
        return _Outcome(error=PaymentDeclinedError("the key was used for another payment"))
    match known.state:
        case "captured":
            return _Outcome(Receipt(key=key, state="captured", amount=amount))
        case "open" if known.attempts < FLAKY_FAILURES:
            await tx.execute("UPDATE authorisations SET attempts = attempts + 1 WHERE key = :key", key=key)
            return _Outcome(error=_no_answer(known.attempts + 1))
        case "open":
            return _Outcome(await _capture(tx, key, amount=amount, token=token))
        case "declined":
            return _Outcome(error=PaymentDeclinedError(known.reason))
        case _:
            return _Outcome(error=PaymentDeclinedError(CALLED_OFF))


def _no_answer(attempt: int) -> ProviderUnreachableError:
    return ProviderUnreachableError("bank", f"no answer, as tok_flaky asks for (call {attempt} of {FLAKY_FAILURES})")


async def _remember(tx: Transaction, key: str, *, amount: Money, token: str, state: str, reason: str = "") -> None:
    await tx.execute(
        "INSERT INTO authorisations (key, token, amount, currency, state, reason, at)"
        " VALUES (:key, :token, :amount, :currency, :state, :reason, :at)",
        key=key, token=token, amount=amount.amount, currency=amount.currency, state=state, reason=reason,
        at=world.now_us(),
    )  # fmt: skip


async def _capture(tx: Transaction, key: str, *, amount: Money, token: str) -> Receipt:
    at = world.now_us()
    card = f"card:{token}"
    await tx.execute("INSERT INTO accounts (id, opened_at) VALUES (:id, :at) ON CONFLICT DO NOTHING", id=card, at=at)
    await tx.execute("UPDATE authorisations SET state = 'captured' WHERE key = :key", key=key)
    await tx.execute(
        "INSERT INTO captures (key, amount, currency, at) VALUES (:key, :amount, :currency, :at)",
        key=key, amount=amount.amount, currency=amount.currency, at=at,
    )  # fmt: skip
    await _book(tx, key, amount=amount, source=card, target="shop", at=at)
    return Receipt(key=key, state="captured", amount=amount)


async def _give_back(tx: Transaction, key: str, known: _Authorisation | None) -> Receipt:
    if known is None:
        # The charge was given up before it came here; when it does come, it must find the key closed.
        await _remember(tx, key, amount=Money(amount=0), token="", state="void", reason=CALLED_OFF)
        return Receipt(key=key, state="void", amount=Money(amount=0))
    if known.state == "refunded":
        given = await tx.first(tuple[str, int, str], _GIVEN, id=key)
        return Receipt(
            key=key, state="refunded", amount=Money(amount=given[1] if given else 0, currency=known.currency)
        )
    if known.state != "captured":
        await tx.execute("UPDATE authorisations SET state = 'void' WHERE key = :key AND state = 'open'", key=key)
        return Receipt(key=key, state="void", amount=Money(amount=0, currency=known.currency))
    rest = Money(amount=await tx.one(int, _LEFT, key=key), currency=known.currency)
    return await _refund(tx, key, known, refund_id=key, amount=rest)


async def _give_part(
    tx: Transaction, key: str, known: _Authorisation | None, *, refund_id: str, amount: Money
) -> Receipt:
    """Give a part back, or say that it was given back before.

    Raises:
        RefundRefusedError: nothing has moved.
    """
    given = await tx.first(tuple[str, int, str], _GIVEN, id=refund_id)
    if given == (key, amount.amount, amount.currency):
        return Receipt(key=key, state="refunded", amount=amount)
    if given is not None or refund_id == key:
        raise RefundRefusedError("the id was used for another refund")
    if known is None or known.state not in {"captured", "refunded"} or known.currency != amount.currency:
        raise RefundRefusedError("no such money was taken")
    left = await tx.one(int, _LEFT, key=key)
    if not 0 < amount.amount <= left:
        raise RefundRefusedError(f"{amount} are asked for, {Money(amount=left, currency=amount.currency)} are left")
    return await _refund(tx, key, known, refund_id=refund_id, amount=amount)


async def _refund(tx: Transaction, key: str, known: _Authorisation, *, refund_id: str, amount: Money) -> Receipt:
    """Move money back that is known to be there; when nothing is left of it, the key is closed."""
    at = world.now_us()
    if amount.amount:
        await tx.execute(
            "INSERT INTO refunds (id, key, amount, currency, at) VALUES (:id, :key, :amount, :currency, :at)",
            id=refund_id, key=key, amount=amount.amount, currency=amount.currency, at=at,
        )  # fmt: skip
        await _book(tx, key, amount=amount, source="shop", target=f"card:{known.token}", at=at)
    if not await tx.one(int, _LEFT, key=key):
        await tx.execute("UPDATE authorisations SET state = 'refunded' WHERE key = :key", key=key)
    return Receipt(key=key, state="refunded", amount=amount)


async def _book(tx: Transaction, key: str, *, amount: Money, source: str, target: str, at: int) -> None:
    """Move money between two accounts: one row takes it, the other gets it."""
    await tx.execute(
        "INSERT INTO ledger (key, account, amount, currency, at)"
        " VALUES (:key, :source, -CAST(:amount AS BIGINT), :currency, :at), (:key, :target, :amount, :currency, :at)",
        key=key, source=source, target=target, amount=amount.amount, currency=amount.currency, at=at,
    )  # fmt: skip
