"""What an OAuth server writes down: who may ask, what was allowed and ended, and what was refused as copied."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from oauth_party import Party, party

from archstone.data import Database
from archstone.resilience import SharedState
from archstone.security import AuditLog
from archstone.security.oauth.clients import DEVICE

pytestmark = pytest.mark.simulated(limit_s=None)

Told = tuple[str, str, str, str]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    url = f"sqlite:///{tmp_path}/oauth.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    async with Database(url) as opened:
        yield opened


@pytest.fixture
async def log(db: Database) -> AuditLog:
    return AuditLog(db, name="programs", key=b"k" * 32)


@pytest.fixture
async def world(db: Database, log: AuditLog) -> AsyncIterator[Party]:
    async with party(db, audit=log) as made:
        yield made


async def told(log: AuditLog) -> list[Told]:
    """Return what was recorded, oldest first: outcome, who, action, subject."""
    await log.record("test.done")  # after it every note is on disk
    found = [(each.outcome, each.who, each.action, each.subject) for each in reversed(await log.entries())]
    assert (await log.verify()).holds
    return [each for each in found if each[2] != "test.done"]


async def the_grant(world: Party) -> str:
    return (await world.oauth.grants.of_person("ann"))[0].id


async def test_clients_are_on_record_from_their_registration_to_their_end(world: Party, log: AuditLog) -> None:
    made = await world.client()
    one = made.client.id
    await world.oauth.clients.rotate_secret(one)
    await world.oauth.end_client(one)
    await world.oauth.end_client(one)
    assert await told(log) == [
        ("done", "", "oauth.client-registered", one),
        ("done", "", "oauth.client-changed", one),
        ("done", "", "oauth.client-removed", one),
    ]
    text = "".join(each.details for each in await log.entries())
    assert made.secret is not None
    assert made.secret not in text
    assert "Bookkeeper" in text


async def test_a_consent_is_on_record_when_it_is_given_and_when_it_ends(world: Party, log: AuditLog) -> None:
    client = await world.client()
    await world.tokens(client, scope="orders:read openid")
    grant = await the_grant(world)
    page = {"grant": grant}
    await world.decide(page, path="/apps")
    await world.decide(page, path="/apps")  # it has ended
    assert (await told(log))[1:] == [
        ("done", "ann", "oauth.consent-given", grant),
        ("done", "ann", "oauth.consent-ended", grant),
    ]
    given, ended = reversed((await log.entries(action="oauth", subject=grant))[:2])
    assert given.details == f'{{"client":"{client.client.id}","scopes":"orders:read openid"}}'
    assert ended.details == '{"why":"asked"}'


async def test_a_consent_that_is_refused_gives_nothing_and_is_not_on_record(world: Party, log: AuditLog) -> None:
    await world.decision(await world.client(), decision="deny")
    assert [each[2] for each in await told(log)] == ["oauth.client-registered"]


async def test_what_a_person_allows_a_device_is_on_record(world: Party, log: AuditLog) -> None:
    client = await world.client(grant_types=[DEVICE], redirect_uris=[])
    begun = await world.ask("POST", "/device_authorization", {
        "client_id": client.client.id, "client_secret": client.secret or "", "scope": "orders:read",
    })  # fmt: skip
    await world.decide({"user_code": begun.json["user_code"], "decision": "allow"}, path="/device")
    assert ("done", "ann", "oauth.consent-given", await the_grant(world)) in await told(log)


async def test_a_code_that_comes_twice_is_on_record_with_what_ended_by_it(world: Party, log: AuditLog) -> None:
    client = await world.client()
    code = await world.code(client)
    await world.by_code(client, code)
    grant = await the_grant(world)
    await world.by_code(client, code)
    assert set((await told(log))[-2:]) == {
        ("denied", f"client:{client.client.id}", "oauth.code-reused", grant),
        ("done", "", "oauth.consent-ended", grant),
    }


async def test_a_code_with_something_wrong_is_on_record(world: Party, log: AuditLog) -> None:
    client = await world.client()
    code = await world.code(client)
    grant = await the_grant(world)
    await world.by_code(client, code, code_verifier="w" * 43)
    assert ("denied", f"client:{client.client.id}", "oauth.code-wrong", grant) in await told(log)
    assert ("done", "", "oauth.consent-ended", grant) in await told(log)


async def test_a_refresh_token_that_comes_twice_is_on_record(world: Party, log: AuditLog) -> None:
    client = await world.client()
    tokens = await world.tokens(client)
    grant = await the_grant(world)
    await world.refreshed(client, tokens["refresh_token"])
    await world.refreshed(client, tokens["refresh_token"])
    found = await told(log)
    assert ("denied", f"client:{client.client.id}", "oauth.refresh-token-reused", grant) in found
    assert ("done", "", "oauth.consent-ended", grant) in found
    assert '{"why":"refresh"}' in [each.details for each in await log.entries(action="oauth.consent-ended")]


async def test_a_wrong_secret_of_a_client_is_on_record_and_who_only_guesses_is_held_back(
    world: Party, log: AuditLog
) -> None:
    client = await world.client()
    said = {"grant_type": "client_credentials", "client_id": client.client.id, "client_secret": "guess"}
    statuses = [(await world.ask("POST", "/token", said)).status for _ in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    found = [each for each in await told(log) if each[2] == "oauth.client-refused"]
    assert len(found) == 10
    assert found[0][3] == client.client.id
    assert "guess" not in "".join(each.details for each in await log.entries())


async def test_without_a_log_nothing_is_written_down(db: Database) -> None:
    async with party(db) as world:
        client = await world.client()
        code = await world.code(client)
        await world.by_code(client, code)
        assert (await world.by_code(client, code)).json["error"] == "invalid_grant"
        tables = "SELECT count(*) FROM sqlite_master WHERE name = '_archstone_audit'"
        if db.dialect == "postgresql":
            tables = "SELECT count(*) FROM information_schema.tables WHERE table_name = '_archstone_audit'"
        assert await db.one(int, tables) == 0


async def test_requests_and_guesses_are_counted_for_all_processes(tmp_path: Path) -> None:
    """Two servers with databases of their own and one store: what one has seen the other one counts as well."""
    async with (
        SharedState("memory:") as shared,
        Database(f"sqlite:///{tmp_path}/one.db") as one,
        Database(f"sqlite:///{tmp_path}/two.db") as two,
        party(one, shared=shared) as here,
        party(two, shared=shared) as there,
    ):
        said = {"grant_type": "client_credentials", "client_id": "nobody", "client_secret": "guess"}
        worlds = [here, there]
        statuses = [(await worlds[at % 2].ask("POST", "/token", said)).status for at in range(12)]
        assert statuses == [401] * 10 + [429] * 2
        statuses = [(await worlds[at % 2].ask("GET", "/jwks.json", address="192.0.2.1")).status for at in range(101)]
        assert statuses == [200] * 100 + [429]
        assert (await here.ask("GET", "/jwks.json", address="192.0.2.2")).status == 200
