"""Where second factors are kept. Every check and its mark are one statement, so that of two uses at once one wins."""

from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol, TypeVar

from archstone import world
from archstone.security import StoredCode
from archstone.systems.shop.users.proving import PasskeyView, SessionView

__all__ = ["CodeRow", "PasskeyRow", "Reads", "SessionRow", "TotpRow", "Writes"]

T = TypeVar("T")

MOST_PASSKEYS: Final = 10
MOST_PLACES: Final = 10
_USED: Final = "INSERT INTO used_ceremonies (mark, until) VALUES (:mark, :until) ON CONFLICT DO NOTHING"
_PLACES_KEPT: Final = (
    "DELETE FROM known_places WHERE user_id = :user_id AND place NOT IN (SELECT place FROM known_places"
    " WHERE user_id = :user_id ORDER BY seen_at DESC, place LIMIT :keep)"
)


class Reads(Protocol):
    """A database, or an open transaction."""

    def first(self, row: type[T], sql: str, /, **params: object) -> Awaitable[T | None]:
        """Return the first row, or None."""
        ...

    def all(self, row: type[T], sql: str, /, **params: object) -> Awaitable[list[T]]:
        """Return all rows."""
        ...


class Writes(Reads, Protocol):
    """An open transaction."""

    def execute(self, sql: str, /, **params: object) -> Awaitable[int]:
        """Run a statement and return how many rows it changed."""
        ...


class TotpRow(NamedTuple):
    """What is kept of an app."""

    secret: bytes
    """Sealed."""
    last_step: int


class CodeRow(NamedTuple):
    """What is kept of a backup code."""

    slot: str
    hash: str


class PasskeyRow(NamedTuple):
    """What is kept of a passkey."""

    id: str
    user_id: str
    credential: bytes
    public_key: bytes
    sign_count: int
    name: str
    added_at: int
    used_at: int | None

    def view(self) -> PasskeyView:
        """Return what its owner sees."""
        used_at = None if self.used_at is None else _moment(self.used_at)
        return PasskeyView(id=self.id, name=self.name, added_at=_moment(self.added_at), used_at=used_at)


class SessionRow(NamedTuple):
    """What is kept of a browser."""

    mark: str
    begun_at: int
    seen_at: int

    def view(self) -> SessionView:
        """Return what its owner sees."""
        return SessionView(mark=self.mark, begun_at=_moment(self.begun_at), seen_at=_moment(self.seen_at))


async def totp_of(db: Reads, user_id: str) -> TotpRow | None:
    """Return the app of a user."""
    return await db.first(TotpRow, "SELECT secret, last_step FROM totp_factors WHERE user_id = :id", id=user_id)


async def had_totp(db: Reads, user_id: str, *, before: int) -> bool:
    """Return whether the app of a user was there before an instant (microseconds)."""
    found = await db.first(
        int, "SELECT count(*) FROM totp_factors WHERE user_id = :id AND added_at < :before", id=user_id, before=before
    )
    return bool(found)


async def put_totp(tx: Writes, user_id: str, sealed: bytes, step: int) -> None:
    """Keep the secret of an app in place of one that was there; the code of `step` is used."""
    await tx.execute("DELETE FROM totp_factors WHERE user_id = :id", id=user_id)
    await tx.execute(
        "INSERT INTO totp_factors (user_id, secret, last_step, added_at) VALUES (:id, :secret, :step, :at)",
        id=user_id, secret=sealed, step=step, at=world.now_us(),
    )  # fmt: skip


async def use_step(tx: Writes, user_id: str, step: int) -> bool:
    """Use up the code of a step and all before it; False if somebody has been faster."""
    return bool(
        await tx.execute(
            "UPDATE totp_factors SET last_step = :step WHERE user_id = :id AND last_step < :step", step=step, id=user_id
        )
    )


async def drop_totp(tx: Writes, user_id: str) -> bool:
    """Forget the app of a user, and the backup codes; False if there was none."""
    await tx.execute("DELETE FROM backup_codes WHERE user_id = :id", id=user_id)
    return bool(await tx.execute("DELETE FROM totp_factors WHERE user_id = :id", id=user_id))


async def codes_left(db: Reads, user_id: str) -> int:
    """Return how many backup codes were not used."""
    return await db.first(int, "SELECT count(*) FROM backup_codes WHERE user_id = :id", id=user_id) or 0


async def code_in(db: Reads, user_id: str, slot: str) -> CodeRow | None:
    """Return the code in a slot."""
    return await db.first(
        CodeRow, "SELECT slot, hash FROM backup_codes WHERE user_id = :id AND slot = :slot", id=user_id, slot=slot
    )


async def put_codes(tx: Writes, user_id: str, rows: Sequence[StoredCode]) -> None:
    """Keep new backup codes in place of the old ones."""
    await tx.execute("DELETE FROM backup_codes WHERE user_id = :id", id=user_id)
    for row in rows:
        await tx.execute(
            "INSERT INTO backup_codes (user_id, slot, hash) VALUES (:id, :slot, :hash)",
            id=user_id, slot=row.slot, hash=row.hash,
        )  # fmt: skip


async def use_code(tx: Writes, user_id: str, code: CodeRow) -> bool:
    """Use up a backup code; False if somebody has been faster."""
    return bool(
        await tx.execute(
            "DELETE FROM backup_codes WHERE user_id = :id AND slot = :slot AND hash = :hash",
            id=user_id, slot=code.slot, hash=code.hash,
        )
    )  # fmt: skip


_PASSKEYS: Final = "SELECT id, user_id, credential, public_key, sign_count, name, added_at, used_at FROM passkeys"


async def passkeys_of(db: Reads, user_id: str) -> list[PasskeyRow]:
    """Return the passkeys of a user, oldest first."""
    return await db.all(PasskeyRow, f"{_PASSKEYS} WHERE user_id = :id ORDER BY added_at, id", id=user_id)


async def passkey(db: Reads, credential: bytes) -> PasskeyRow | None:
    """Return the passkey that a device names."""
    return await db.first(PasskeyRow, f"{_PASSKEYS} WHERE credential = :credential", credential=credential)


async def add_passkey(tx: Writes, row: PasskeyRow) -> None:
    """Keep a new passkey."""
    await tx.execute(
        "INSERT INTO passkeys (id, user_id, credential, public_key, sign_count, name, added_at)"
        " VALUES (:id, :user_id, :credential, :public_key, :sign_count, :name, :added_at)",
        id=row.id, user_id=row.user_id, credential=row.credential, public_key=row.public_key,
        sign_count=row.sign_count, name=row.name, added_at=row.added_at,
    )  # fmt: skip


async def use_passkey(tx: Writes, row: PasskeyRow, sign_count: int) -> bool:
    """Keep the counter of a passkey that was used; False if it was used meanwhile, or is gone."""
    return bool(
        await tx.execute(
            "UPDATE passkeys SET sign_count = :new, used_at = :now WHERE id = :id AND sign_count = :old",
            new=sign_count, now=world.now_us(), id=row.id, old=row.sign_count,
        )
    )  # fmt: skip


async def drop_passkey(tx: Writes, user_id: str, passkey_id: str) -> bool:
    """Forget a passkey of a user; False if it is not theirs."""
    return bool(
        await tx.execute("DELETE FROM passkeys WHERE id = :id AND user_id = :user_id", id=passkey_id, user_id=user_id)
    )


async def use_ceremony(tx: Writes, mark: str, until: int) -> bool:
    """Note that a ceremony was answered; False if it was answered before."""
    return bool(await tx.execute(_USED, mark=mark, until=until))


async def sweep(tx: Writes) -> None:
    """Forget ceremonies whose time is over."""
    await tx.execute("DELETE FROM used_ceremonies WHERE until <= :now", now=world.now_us())


async def knows_place(db: Reads, user_id: str, place: str) -> bool:
    """Return whether a user has signed in at a place before."""
    found = await db.first(
        int, "SELECT count(*) FROM known_places WHERE user_id = :id AND place = :place", id=user_id, place=place
    )
    return bool(found)


async def note_place(tx: Writes, user_id: str, place: str) -> None:
    """Remember where a user has signed in: the last ten places."""
    await tx.execute(
        "INSERT INTO known_places (user_id, place, seen_at) VALUES (:id, :place, :now)"
        " ON CONFLICT (user_id, place) DO UPDATE SET seen_at = excluded.seen_at",
        id=user_id, place=place, now=world.now_us(),
    )  # fmt: skip
    await tx.execute(_PLACES_KEPT, user_id=user_id, keep=MOST_PLACES)


async def sessions_of(db: Reads, user_id: str, *, seen_after: int, begun_after: int) -> list[SessionRow]:
    """Return the browsers of a user that are signed in, the one that was seen last first."""
    return await db.all(
        SessionRow,
        "SELECT mark, begun_at, seen_at FROM browser_sessions WHERE user_id = :id AND seen_at > :seen_after"
        " AND begun_at > :begun_after ORDER BY seen_at DESC, mark",
        id=user_id, seen_after=seen_after, begun_after=begun_after,
    )  # fmt: skip


def _moment(at: int) -> datetime:
    return datetime.fromtimestamp(at / 1_000_000, UTC)
