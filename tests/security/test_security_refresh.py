"""Refresh tokens: one use each, a family that dies with its first reuse, nothing stored in the clear."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from archstone import simulation, world
from archstone.context import Principal
from archstone.data import Database
from archstone.security import Claims, DatabaseRevocations, RefreshTokenError, RefreshTokens, Revocations, Rotated

WEEK_S = 7 * 86_400

pytestmark = pytest.mark.simulated(limit_s=None)


@pytest.fixture
async def db(tmp_path: Path) -> AsyncGenerator[Database, None]:
    async with Database(f"sqlite:///{tmp_path}/users.db") as opened:
        yield opened


@pytest.fixture
async def refresh(db: Database) -> AsyncGenerator[RefreshTokens, None]:
    tokens = RefreshTokens(db)
    await tokens.open()
    yield tokens
    await tokens.close()


async def issue(db: Database, refresh: RefreshTokens, user_id: str = "ann") -> str:
    async with db.transaction() as tx:
        return (await refresh.issue(user_id, tx)).text


async def rotate(db: Database, refresh: RefreshTokens, token: str) -> Rotated:
    async with db.transaction() as tx:
        return await refresh.rotate(token, tx)


async def fault_of(db: Database, refresh: RefreshTokens, token: str) -> str:
    with pytest.raises(RefreshTokenError) as caught:
        await rotate(db, refresh, token)
    assert token not in str(caught.value) or not token
    assert caught.value.status == 401
    return caught.value.fault


async def test_a_token_gives_its_successor_and_its_user(db: Database, refresh: RefreshTokens) -> None:
    first = await issue(db, refresh)
    second = await rotate(db, refresh, first)
    assert second.user_id == "ann"
    assert second.token.text != first
    assert (await rotate(db, refresh, second.token.text)).user_id == "ann"


async def test_a_reuse_revokes_the_family_and_no_other(db: Database, refresh: RefreshTokens) -> None:
    first, other = await issue(db, refresh), await issue(db, refresh)
    second = (await rotate(db, refresh, first)).token.text
    assert await fault_of(db, refresh, first) == "reused"
    assert await fault_of(db, refresh, second) == "revoked"
    assert (await rotate(db, refresh, other)).user_id == "ann"


async def test_a_revocation_by_reuse_outlives_the_process(db: Database, refresh: RefreshTokens) -> None:
    first = await issue(db, refresh)
    second = (await rotate(db, refresh, first)).token.text
    assert await fault_of(db, refresh, first) == "reused"
    await refresh.close()
    assert await fault_of(db, RefreshTokens(db), second) == "revoked"


async def test_of_two_uses_at_once_one_wins_and_the_family_ends(db: Database, refresh: RefreshTokens) -> None:
    first = await issue(db, refresh)
    outcomes = await asyncio.gather(*(rotate(db, refresh, first) for _ in range(2)), return_exceptions=True)
    won = [outcome for outcome in outcomes if isinstance(outcome, Rotated)]
    lost = [outcome.fault for outcome in outcomes if isinstance(outcome, RefreshTokenError)]
    assert (len(won), lost) == (1, ["reused"])
    assert await fault_of(db, refresh, won[0].token.text) == "revoked"


async def test_a_use_that_is_rolled_back_did_not_happen(db: Database, refresh: RefreshTokens) -> None:
    first = await issue(db, refresh)
    with pytest.raises(KeyError):
        async with db.transaction() as tx:
            await refresh.rotate(first, tx)
            raise KeyError
    assert (await rotate(db, refresh, first)).user_id == "ann"


async def test_a_token_is_good_for_seven_days_and_each_rotation_begins_anew(
    db: Database, refresh: RefreshTokens
) -> None:
    token = await issue(db, refresh)
    await asyncio.sleep(WEEK_S - 1)
    token = (await rotate(db, refresh, token)).token.text
    await asyncio.sleep(WEEK_S)
    assert await fault_of(db, refresh, token) == "expired"


@pytest.mark.parametrize("token", ["", "rt_", "rt_" + "A" * 43, "x" * 10_000, "rt_\ud800", "' OR 1=1 --"])
async def test_any_other_text_is_unknown(db: Database, refresh: RefreshTokens, token: str) -> None:
    assert await fault_of(db, refresh, token) == "unknown"


async def test_signing_out_ends_the_family_of_the_token(db: Database, refresh: RefreshTokens) -> None:
    first, other = await issue(db, refresh), await issue(db, refresh)
    second = (await rotate(db, refresh, first)).token.text
    async with db.transaction() as tx:
        assert await refresh.revoke(tx, token=second) == 2
        assert await refresh.revoke(tx, token=second) == 0
        assert await refresh.revoke(tx, token="nonsense") == 0
    assert await fault_of(db, refresh, second) == "revoked"
    assert (await rotate(db, refresh, other)).user_id == "ann"


async def test_access_tokens_end_with_the_family_that_they_name(db: Database) -> None:
    store = DatabaseRevocations(db)
    await store.open()
    async with Revocations(store) as revocations:
        refresh = RefreshTokens(db, revocations=revocations)
        await refresh.open()
        texts: dict[str, str] = {}
        seen: dict[str, Claims] = {}
        for name in ("out", "reused", "everywhere", "kept"):
            async with db.transaction() as tx:
                made = await refresh.issue("ann", tx)
            texts[name] = made.text
            seen[name] = Claims(Principal("ann"), name, world.now_us(), world.now_us() + 900_000_000, "", made.family)

        def refused() -> list[str]:
            return [name for name, claims in seen.items() if revocations.is_revoked(claims)]

        async with db.transaction() as tx:
            await refresh.revoke(tx, token=texts["out"])
        assert refused() == ["out"]
        await rotate(db, refresh, texts["reused"])
        assert await fault_of(db, refresh, texts["reused"]) == "reused"
        await refresh.close()
        assert refused() == ["out", "reused"]
        async with db.transaction() as tx:
            await refresh.revoke_user(tx, user_id="ann", but=texts["kept"])
        assert refused() == ["out", "reused", "everywhere"]


async def test_a_user_can_be_signed_out_everywhere(db: Database, refresh: RefreshTokens) -> None:
    mine, also_mine, yours = await issue(db, refresh), await issue(db, refresh), await issue(db, refresh, "bob")
    async with db.transaction() as tx:
        assert await refresh.revoke_user(tx, user_id="ann") == 2
    assert [await fault_of(db, refresh, token) for token in (mine, also_mine)] == ["revoked", "revoked"]
    assert (await rotate(db, refresh, yours)).user_id == "bob"


async def test_a_user_can_be_signed_out_everywhere_else(db: Database, refresh: RefreshTokens) -> None:
    here, there = await issue(db, refresh), await issue(db, refresh)
    async with db.transaction() as tx:
        assert await refresh.revoke_user(tx, user_id="ann", but=here) == 1
    assert await fault_of(db, refresh, there) == "revoked"
    assert (await rotate(db, refresh, here)).user_id == "ann"
    last = await issue(db, refresh)
    async with db.transaction() as tx:
        assert await refresh.revoke_user(tx, user_id="ann", but="nonsense") == 3
    assert await fault_of(db, refresh, last) == "revoked"


async def test_the_file_holds_no_token(db: Database, refresh: RefreshTokens, tmp_path: Path) -> None:
    token = await issue(db, refresh)
    files = b"".join(path.read_bytes() for path in tmp_path.glob("users.db*"))
    assert b"_archstone_refresh_tokens" in files
    assert token.removeprefix("rt_").encode() not in files


async def test_sweeping_deletes_what_has_expired_and_nothing_else(db: Database, refresh: RefreshTokens) -> None:
    first = await issue(db, refresh)
    second = (await rotate(db, refresh, first)).token.text
    await asyncio.sleep(WEEK_S - 1)
    fresh = await issue(db, refresh)
    assert await refresh.sweep(db) == 0
    await asyncio.sleep(1)
    assert [await refresh.sweep(db, limit=1) for _ in range(3)] == [1, 1, 0]
    assert await fault_of(db, refresh, second) == "unknown"
    assert (await rotate(db, refresh, fresh)).user_id == "ann"


async def outcome_of(db: Database, refresh: RefreshTokens, token: str) -> Rotated | str:
    try:
        return await rotate(db, refresh, token)
    except RefreshTokenError as error:
        return error.fault


class Family(RuleBasedStateMachine):
    """Against a model: each token unused, used or of a dead family; a week is never up."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.stage = simulation.Stage(seed=1, limit_s=None).__enter__()
        self.db = Database(f"sqlite:///{self.folder.name}/users.db")
        self.refresh = RefreshTokens(self.db)
        self.tokens: list[tuple[str, int]] = []
        self.used: set[str] = set()
        self.dead: set[int] = set()
        self.families = 0

    @initialize()
    def begin(self) -> None:
        self.stage.run(self.db.__aenter__())
        self.stage.run(self.refresh.open())

    @rule()
    def sign_in(self) -> None:
        self.tokens.append((self.stage.run(issue(self.db, self.refresh)), self.families))
        self.families += 1

    @precondition(lambda self: self.tokens)
    @rule(data=st.data())
    def use(self, data: st.DataObject) -> None:
        token, family = data.draw(st.sampled_from(self.tokens))
        outcome = self.stage.run(outcome_of(self.db, self.refresh, token))
        if family in self.dead:
            assert outcome == "revoked"
        elif token in self.used:
            assert outcome == "reused"
            self.dead.add(family)
        else:
            assert isinstance(outcome, Rotated)
            self.used.add(token)
            self.tokens.append((outcome.token.text, family))

    @precondition(lambda self: self.tokens)
    @rule(data=st.data())
    def sign_out(self, data: st.DataObject) -> None:
        token, family = data.draw(st.sampled_from(self.tokens))

        async def revoke() -> None:
            async with self.db.transaction() as tx:
                await self.refresh.revoke(tx, token=token)

        self.stage.run(revoke())
        self.dead.add(family)

    def teardown(self) -> None:
        self.stage.run(self.refresh.close())
        self.stage.run(self.db.__aexit__(None, None, None))
        self.stage.__exit__(None, None, None)
        self.folder.cleanup()


TestFamily = Family.TestCase
TestFamily.settings = settings(
    max_examples=15, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)
