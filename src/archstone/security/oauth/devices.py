"""Devices without a browser (RFC 8628): they show eight letters, which a person types where there is one.

Eight letters of twenty are 34 bits. They live ten minutes, and a person tries ten and then one in ten seconds: who
guesses without pause finds one that waits after eight thousand years, and after ten months if 10,000 wait all the time.
"""

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from archstone import world
from archstone.data import Database, Transaction
from archstone.security.oauth.errors import OAuthError
from archstone.security.oauth.settings import OAuthSettings
from archstone.security.oauth.tables import MICROS, chance, digest

__all__ = ["Device", "Devices", "NewDevice", "Polled", "plain_code"]

_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"
"""No vowels, so that they make no words; no digits, so that none is taken for a letter."""
_LENGTH: Final = 8
_SLOWER_US: Final = 5 * MICROS
_SWEEP_ROWS: Final = 1_000


class NewDevice(NamedTuple):
    """A device that begins to wait."""

    device_code: str
    user_code: str
    """As people read it: `WDJB-MJHT`."""


class Device(NamedTuple):
    """A device that waits for its person."""

    user_code: str
    client_id: str
    scopes: str


class Polled(NamedTuple):
    """What a device that asks is told."""

    outcome: Literal["allowed", "waiting", "too_fast", "denied", "expired", "unknown"]
    grant: str = ""


class _Row(NamedTuple):
    client_id: str
    state: str
    grant_id: str | None
    interval_us: int
    polled_at: int | None
    expires_at: int


class Devices:
    """The devices that wait, in a database."""

    def __init__(self, db: Database, settings: OAuthSettings) -> None:
        self._db = db
        self._settings = settings

    async def begin(self, client_id: str, scopes: Iterable[str]) -> NewDevice:
        """Let a device wait.

        Raises:
            OAuthError: Too many do.
        """
        device_code, user_code = chance(), _user_code()

        async def work(tx: Transaction) -> None:
            await self.forget_expired(tx)
            if await tx.one(int, "SELECT count(*) FROM _archstone_oauth_devices") >= self._settings.most_pending:
                raise OAuthError("temporarily_unavailable", "too many devices wait for their people: try again later")
            await tx.execute(
                "INSERT INTO _archstone_oauth_devices (hash, user_code, client_id, scopes, state, interval_us,"
                " expires_at) VALUES (:hash, :user_code, :client_id, :scopes, 'waiting', :interval, :expires)",
                hash=digest(device_code),
                user_code=user_code,
                client_id=client_id,
                scopes=" ".join(scopes),
                interval=round(self._settings.device_interval_s * MICROS),
                expires=world.now_us() + round(self._settings.device_s * MICROS),
            )

        await self._db.run(work)
        return NewDevice(device_code, f"{user_code[:4]}-{user_code[4:]}")

    async def waiting(self, user_code: str) -> Device | None:
        """Return the device that shows these letters and waits. None: none does."""
        return await self._db.first(
            Device,
            "SELECT user_code, client_id, scopes FROM _archstone_oauth_devices"
            " WHERE user_code = :code AND state = 'waiting' AND expires_at > :now",
            code=plain_code(user_code),
            now=world.now_us(),
        )

    async def decide(self, tx: Transaction, user_code: str, *, grant: str | None) -> bool:
        """Write down what its person says: a grant, or None for no. False: it does not wait any more."""
        changed = await tx.execute(
            "UPDATE _archstone_oauth_devices SET state = :state, grant_id = :grant"
            " WHERE user_code = :code AND state = 'waiting' AND expires_at > :now",
            state="denied" if grant is None else "allowed",
            grant=grant,
            code=plain_code(user_code),
            now=world.now_us(),
        )
        return changed > 0

    async def poll(self, tx: Transaction, device_code: str, *, client_id: str) -> Polled:
        """Tell a device what its person has said. Of an allowed one the grant is given once."""
        row = await tx.first(
            _Row,
            "SELECT client_id, state, grant_id, interval_us, polled_at, expires_at FROM _archstone_oauth_devices"
            " WHERE hash = :hash",
            hash=digest(device_code),
        )
        if row is None or row.client_id != client_id or row.state == "done":
            return Polled("unknown")
        now_us = world.now_us()
        if now_us >= row.expires_at:
            return Polled("expired")
        too_fast = row.polled_at is not None and now_us - row.polled_at < row.interval_us
        ends = row.state == "allowed" and not too_fast
        await tx.execute(
            "UPDATE _archstone_oauth_devices SET polled_at = :now, interval_us = :interval, state = :state"
            " WHERE hash = :hash",
            now=now_us,
            interval=row.interval_us + (_SLOWER_US if too_fast else 0),
            state="done" if ends else row.state,
            hash=digest(device_code),
        )
        if too_fast:
            return Polled("too_fast")
        if row.state == "allowed":
            return Polled("allowed", row.grant_id or "")
        return Polled("denied" if row.state == "denied" else "waiting")

    async def forget_expired(self, tx: Transaction) -> int:
        """Delete devices whose time has been over for a while; return how many."""
        return await tx.execute(
            "DELETE FROM _archstone_oauth_devices WHERE hash IN"
            " (SELECT hash FROM _archstone_oauth_devices WHERE expires_at <= :gone LIMIT :limit)",
            gone=world.now_us() - round(self._settings.device_s * MICROS),
            limit=_SWEEP_ROWS,
        )


def plain_code(typed: str) -> str:
    """Return letters as they are stored: what people type beside them does not count."""
    return "".join(each for each in typed[:40].upper() if each in _LETTERS)


def _user_code() -> str:
    # Of 256 values 240 fall evenly on the letters; the others are drawn again.
    letters: list[str] = []
    while len(letters) < _LENGTH:
        letters += [_LETTERS[each % 20] for each in world.secret_bytes(16) if each < 240]
    return "".join(letters[:_LENGTH])
