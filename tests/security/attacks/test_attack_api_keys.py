"""Attacks on API keys. Each also succeeds against a weak variant."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from archstone.context import Principal
from archstone.data import Database
from archstone.gateway import ASGIApp, Gateway, GatewayParts
from archstone.resilience import RateLimit
from archstone.security import ApiKey, ApiKeyError, ApiKeys, NewApiKey, SigningKeys, well_formed
from archstone.security.apikeyform import _checksum
from archstone.security.apikeys import _digest
from archstone.services import SIGNED_IN, Contract, Operation, operations, query
from archstone.services.http import ask

pytestmark = pytest.mark.simulated(limit_s=None)

PEPPER = SigningKeys((b"p" * 32,))


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database(f"sqlite:///{tmp_path}/keys.db") as opened:
        yield opened


@pytest.fixture
async def keys(db: Database) -> AsyncIterator[ApiKeys]:
    async with ApiKeys(db, pepper=PEPPER) as opened:
        yield opened


class Look(Contract, version="1.0"):
    @query("/look", public=True, requires=SIGNED_IN)
    async def look(self) -> str: ...


class Echo:
    """Answers everything."""

    async def call(self, operation: Operation, arguments: dict[str, object]) -> object:
        del operation, arguments
        return "seen"


class Remembering:
    """Weak: who was let in once is let in again, without a question to the database."""

    def __init__(self, keys: ApiKeys) -> None:
        self.keys = keys
        self.seen: dict[str, ApiKey] = {}

    async def verify(self, text: str) -> ApiKey:
        if text not in self.seen:
            self.seen[text] = await self.keys.verify(text)
        return self.seen[text]


async def fault(keys: ApiKeys | Remembering, text: str) -> str:
    try:
        await keys.verify(text)
    except ApiKeyError as error:
        return error.fault
    return ""


async def test_attack_keys_without_a_checksum_make_no_questions(keys: ApiKeys, db: Database) -> None:
    """Guesses are turned away before the database: 10,000 of them cost no statement."""
    asked: list[str] = []
    real = db.first

    async def counting(row: object, sql: str, /, **params: object) -> object:
        asked.append(sql)
        return await real(row, sql, **params)

    db.first = counting
    made = await keys.create("ann", name="x", scopes=["orders:read"])
    wrong = [made.text[:-1] + ("0" if made.text[-1] != "0" else "1"), made.text[:-1], made.text + "0", "ask_", "",
             made.text.upper(), "ask_" + "0" * 44, "ghp_" + made.text[4:], "ask_" + "\ud800" * 44]  # fmt: skip
    for text in wrong:
        assert await fault(keys, text) == "malformed"
    assert asked == []
    assert await fault(keys, made.text) == ""
    assert len(asked) == 1

    async def weak(text: str) -> bool:  # asks the database about whatever comes
        return (
            await db.first(
                str, "SELECT id FROM _archstone_api_keys WHERE hash = :hash", hash=_digest(PEPPER.keys[0], text)
            )
            is not None
        )

    for text in wrong:
        await weak(text)
    assert len(asked) == 1 + len(wrong)


async def test_attack_a_key_that_was_revoked_a_moment_ago(keys: ApiKeys, db: Database) -> None:
    made = await keys.create("ann", name="x", scopes=[])
    async with ApiKeys(db, pepper=PEPPER) as elsewhere:
        weak = Remembering(elsewhere)
        assert (await fault(elsewhere, made.text), await fault(weak, made.text)) == ("", "")
        await keys.revoke(made.key.id, owner="ann")
        assert await fault(elsewhere, made.text) == "revoked"
        assert await fault(weak, made.text) == ""


async def test_attack_an_expired_key(keys: ApiKeys) -> None:
    made = await keys.create("ann", name="x", scopes=[], lifetime_s=60)
    weak = Remembering(keys)
    await asyncio.sleep(59)
    assert (await fault(keys, made.text), await fault(weak, made.text)) == ("", "")
    await asyncio.sleep(1)
    assert await fault(keys, made.text) == "expired"
    assert await fault(weak, made.text) == ""


async def test_attack_a_row_planted_in_the_database(keys: ApiKeys, db: Database) -> None:
    """Who can write the table, and has not the pepper, cannot make a key."""
    body = "ask_" + "A" * 38
    mine = body + _checksum(body)
    assert well_formed(mine)
    for stored in (hashlib.sha256(mine.encode()).digest(), mine.encode()):
        await db.execute(
            "INSERT INTO _archstone_api_keys (hash, id, owner, name, hint, scopes, created_at, expires_at)"
            " VALUES (:hash, :id, 'root', 'x', 'x', 'orders:write', 0, :end)",
            hash=stored, id=stored.hex(), end=1 << 60,
        )  # fmt: skip
    assert await fault(keys, mine) == "unknown"

    async def weak(text: str) -> bool:
        plain = hashlib.sha256(text.encode()).digest()
        return await db.first(str, "SELECT owner FROM _archstone_api_keys WHERE hash = :hash", hash=plain) is not None

    assert await weak(mine)


async def test_attack_somebody_elses_key_by_its_id(keys: ApiKeys, db: Database) -> None:
    made = await keys.create("ann", name="x", scopes=["orders:read"])
    assert not await keys.revoke(made.key.id, owner="eve")
    with pytest.raises(LookupError):
        await keys.rotate(made.key.id, owner="eve")
    assert await fault(keys, made.text) == ""

    async def weak(key_id: str) -> int:
        return await db.execute("UPDATE _archstone_api_keys SET revoked_at = 1 WHERE id = :id", id=key_id)

    assert await weak(made.key.id) == 1


async def test_attack_a_stolen_database_holds_no_key(
    keys: ApiKeys, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def opened_by_what_is_stored(made: NewApiKey) -> bool:
        """Try everything that the table holds as a key, in its text and from its hash."""
        rows = await db.all(dict, "SELECT * FROM _archstone_api_keys")
        held = [value for row in rows for value in row.values()]
        texts = [each.decode("latin-1") if isinstance(each, bytes) else str(each) for each in held]
        quick = {hashlib.sha256(made.text.encode()).digest(), made.text.encode()}
        return any([await fault(keys, each) == "" for each in texts]) or bool(quick & {*map(_raw, held)})

    assert not await opened_by_what_is_stored(await keys.create("ann", name="x", scopes=["orders:read"]))
    # Weak: the hash of the text alone, as anybody can compute it of a guess or of a key found elsewhere.
    monkeypatch.setattr("archstone.security.apikeys._digest", lambda pepper, text: text.encode())
    assert await opened_by_what_is_stored(await keys.create("ann", name="x", scopes=["orders:read"]))


def door(keys: ApiKeys, who: Callable[[ApiKey], Principal], **settings: object) -> ASGIApp:
    """A front door that lets 4 requests a second of one principal pass, 8 at once."""

    async def verify(text: str) -> Principal:
        return who(await keys.verify(text))

    gateway = Gateway(**{"rate_limit": RateLimit(4, burst=8), **settings})
    return gateway.build(GatewayParts(routes=[(each, Echo()) for each in operations(Look)], verify=verify))


async def answered(app: ASGIApp, key: NewApiKey, times: int) -> int:
    """Ask so often with a key; return how many were answered."""
    headers = [("x-api-key", key.text)]
    answers = [await ask(app, "GET", "/api/v1/look", headers=headers) for _ in range(times)]
    assert {each.status for each in answers} <= {200, 429}
    return sum(each.status == 200 for each in answers)


async def test_attack_one_key_uses_up_what_its_owner_needs(keys: ApiKeys) -> None:
    """A program that runs wild, or a key that was stolen, floods the API in its owner's name."""
    wild, calm = [await keys.create("ann", name=name, scopes=["look:read"]) for name in ("wild", "calm")]

    async def left_for_others(**weak: object) -> int:
        app = door(keys, ApiKey.principal, **weak)
        await answered(app, wild, 200)
        return await answered(app, calm, 4)

    assert await left_for_others() == 4
    # Weak: a key counts as its owner and no more.
    assert await left_for_others(program_ratio=1) == 0


async def test_attack_more_keys_for_more_requests(keys: ApiKeys) -> None:
    """Somebody makes one key after the other, so as to ask more than everybody else may."""
    made = [await keys.create("ann", name=str(at), scopes=["look:read"]) for at in range(5)]

    async def got(who: Callable[[ApiKey], Principal]) -> int:
        app = door(keys, who)
        return sum([await answered(app, key, 20) for key in made])

    assert await got(ApiKey.principal) == 8
    # Weak: each key is counted by itself.
    assert await got(lambda key: key.principal()._replace(id=key.id)) > 8


async def test_attack_a_key_is_replaced_to_be_rid_of_its_limit(keys: ApiKeys) -> None:
    """A key was given out with a limit; whoever may replace it wants one without."""
    old = await keys.create("ann", name="partner", scopes=["look:read"], per_minute=2)
    new = await keys.rotate(old.key.id, owner="ann")
    assert [await answered(door(keys, ApiKey.principal), each, 5) for each in (old, new)] == [2, 2]
    # Weak: the limit is not looked at.
    weak = door(keys, lambda key: key._replace(per_minute=None).principal())
    assert await answered(weak, new, 4) == 4


def _raw(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


async def test_attack_a_key_hidden_behind_many_that_have_ended(keys: ApiKeys, db: Database) -> None:
    """A thief makes a key, and then so many to revoke that the list of keys ends before the first."""
    hidden = await keys.create("ann", name="hidden", scopes=["orders:read"])
    await asyncio.sleep(1)
    for _ in range(200):
        made = await keys.create("ann", name="x", scopes=[])
        await keys.revoke(made.key.id, owner="ann")
    assert [key.id for key in await keys.keys_of("ann") if key.stands] == [hidden.key.id]
    # weak: the newest first, whether they have ended or not
    newest = "SELECT id FROM _archstone_api_keys WHERE owner = 'ann' ORDER BY created_at DESC, id DESC LIMIT 200"
    assert hidden.key.id not in await db.all(str, newest)
