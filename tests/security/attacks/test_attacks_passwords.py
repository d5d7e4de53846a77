"""Guessing, spraying, locking out and listening. Beside each attack stands what falls to it."""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import zxcvbn
from zxcvbn import matching

from archstone.resilience import RateLimit, RateLimitedError
from archstone.security import (
    Attempts,
    BreachedPasswords,
    Cost,
    PasswordPolicy,
    Passwords,
    PwnedPasswords,
    Verdict,
)

CHEAP = Cost(memory_kib=64, passes=1)

pytestmark = pytest.mark.simulated(limit_s=None)


class WrongError(Exception):
    """It was the wrong one."""


Login = Callable[[Passwords, str | None, str], Awaitable[bool]]


async def hashes_made(login: Login, stored: str | None, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how often argon2 was computed for one try."""
    judged: list[str] = []
    judge = Passwords._judge

    def counted(self: Passwords, against: str, secret: bytes, salt: bytes) -> Verdict:
        judged.append(against)
        return judge(self, against, secret, salt)

    with monkeypatch.context() as patch:
        patch.setattr(Passwords, "_judge", counted)
        async with Passwords(cost=CHEAP) as passwords:
            await login(passwords, stored, "guess")
    return len(judged)


async def ours(passwords: Passwords, stored: str | None, typed: str) -> bool:
    return (await passwords.verify(stored, typed)).right


async def in_a_hurry(passwords: Passwords, stored: str | None, typed: str) -> bool:
    """Weak: computes nothing for who is not there."""
    return stored is not None and (await passwords.verify(stored, typed)).right


async def test_attack_users_are_listed_by_the_work_that_a_login_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Passwords(cost=CHEAP) as passwords:
        stored = await passwords.hash("right")
    assert await hashes_made(ours, stored, monkeypatch) == await hashes_made(ours, None, monkeypatch) == 1
    assert await hashes_made(in_a_hurry, stored, monkeypatch) != await hashes_made(in_a_hurry, None, monkeypatch)


@pytest.mark.real_time
async def test_attack_users_are_listed_by_processor_time() -> None:
    """Processor time of the process, not of the clock: what else runs on the machine does not count."""
    async with Passwords() as passwords:
        stored = await passwords.hash("right")

        async def best_s(login: Login, against: str | None) -> float:
            times: list[float] = []
            for _ in range(7):
                before_s = time.process_time()
                await login(passwords, against, "guess")
                times.append(time.process_time() - before_s)
            return sorted(times)[1]

        known_s, unknown_s = await best_s(ours, stored), await best_s(ours, None)
        weak_s = await best_s(in_a_hurry, None)
    assert 0.6 < unknown_s / known_s < 1.6
    assert weak_s < known_s / 10


GUESSED_FIRST = ("password123", "QWERTYUIOP", "iloveyou1", "Summer2026!", "archstone2026", "ann.alder1", "P@ssw0rd1")


@pytest.mark.parametrize("guess", GUESSED_FIRST)
def test_attack_the_first_guesses_of_a_list_open_an_account(guess: str) -> None:
    policy = PasswordPolicy(words=("archstone",))
    assert policy.flaw(guess, about=("ann.alder@example.com",)) is not None
    weak = len(guess) >= 8 and any(each.isalpha() for each in guess)
    assert weak


@pytest.mark.parametrize("kind", ["x", "l33t", "aA1!", "4@8({[<3", "19991999", "\u0130"])
def test_attack_a_long_password_holds_up_whoever_estimates_it(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The work grows with the square of what is estimated: so many characters of it, and no more."""
    before_s = time.process_time()
    PasswordPolicy().flaw((kind * 200)[:200])
    assert time.process_time() - before_s < 1
    looked_at: list[int] = []
    real = matching.omnimatch

    def counting(text: str, *known: object) -> object:
        looked_at.extend(len(text) for _ in known)  # it calls itself, for parts, without
        return real(text[:20], *known)

    monkeypatch.setattr(matching, "omnimatch", counting)
    password = f"{kind} and several words that do not belong together, zebra and quay".ljust(200, "q")
    PasswordPolicy().flaw(password)
    monkeypatch.setattr("archstone.security.policy._ESTIMATED", 10_000)  # weak: all of it
    PasswordPolicy().flaw(password)
    assert looked_at == [64, 200]


def test_attack_words_of_one_user_stay_behind_for_another() -> None:
    PasswordPolicy().flaw("unlikely-zebra-word", about=("unlikely-zebra@example.com",))
    assert "unlikely-zebra@example.com" not in matching.RANKED_DICTIONARIES.get("user_inputs", {})
    # Weak: the function of the package, as its page shows it.
    zxcvbn.zxcvbn("anything", user_inputs=["unlikely-zebra@example.com"])
    assert "unlikely-zebra@example.com" in matching.RANKED_DICTIONARIES["user_inputs"]
    matching.RANKED_DICTIONARIES.pop("user_inputs")


async def test_attack_the_breach_service_learns_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []

    async def eavesdropped(url: str) -> str:
        heard.append(url)
        return ""

    digest = hashlib.sha1(b"a quiet evening").hexdigest().upper()

    async def learns(service: PwnedPasswords) -> bool:
        heard.clear()
        await service.times_seen("a quiet evening")
        [url] = heard
        return digest[5:12] in url

    ours = PwnedPasswords("https://x/", fetch=eavesdropped)
    assert not await learns(ours)
    monkeypatch.setattr("archstone.security.breached._PREFIX", 40)  # weak: asks for the whole hash
    assert await learns(ours)


async def test_attack_a_breach_service_that_is_cut_off_lets_nobody_register() -> None:
    async def cut_off(asked: str) -> str:
        raise ConnectionRefusedError

    class HandsOn:
        """Weak: a failure to ask is a failure of whoever registers."""

        async def times_seen(self, password: str, /) -> int:
            return len(await cut_off(password))

    async def lets_in(breached: BreachedPasswords) -> bool:
        async with Passwords(cost=CHEAP, breached=breached) as passwords:
            try:
                return await passwords.flaw("a quiet evening") is None
            except OSError:
                return False

    assert await lets_in(PwnedPasswords("https://x/", fetch=cut_off))
    assert not await lets_in(HandsOn())


class CountedAfterwards:
    """Looks whether a limit is full, tries, and counts at the end: what many write."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.failed = 0

    @asynccontextmanager
    async def admit(self, account: str, place: str, **more: Any) -> Any:
        if self.failed >= self.limit:
            raise RateLimitedError("weak", account, 1.0, 1.0)
        try:
            yield
        except WrongError:
            self.failed += 1
            raise


async def tried(attempts: Any, account: str, place: str) -> bool:
    """Return whether a guess was looked at."""
    try:
        async with attempts.admit(account, place, failure=WrongError):
            await asyncio.sleep(0.02)
            raise WrongError
    except WrongError:
        return True
    except RateLimitedError:
        return False


async def test_attack_a_thousand_guesses_in_the_same_moment() -> None:
    async def looked_at(attempts: Any) -> int:
        return sum(await asyncio.gather(*(tried(attempts, "ann", "") for _ in range(1000))))

    assert await looked_at(Attempts()) <= 3
    assert await looked_at(CountedAfterwards(10)) == 1000


async def test_attack_guesses_come_from_a_thousand_places() -> None:
    async def looked_at(attempts: Attempts) -> int:
        return sum([await tried(attempts, "ann", f"2001:db8:{number:x}::/64") for number in range(1000)])

    assert await looked_at(Attempts()) < 20
    assert await looked_at(Attempts(account=())) == 1000  # weak: limits by address alone


async def test_attack_one_password_is_tried_on_a_thousand_accounts() -> None:
    async def looked_at(attempts: Attempts) -> int:
        return sum([await tried(attempts, f"user{number}", "192.0.2.1") for number in range(1000)])

    assert await looked_at(Attempts()) < 60
    assert await looked_at(Attempts(place=())) == 1000  # weak: limits by account alone


async def test_attack_a_stranger_locks_the_owner_out() -> None:
    async def owner_gets_in(attempts: Attempts, *, known: bool) -> bool:
        for number in range(200):
            await tried(attempts, "ann", f"198.51.100.{number}")
        try:
            async with attempts.admit("ann", "192.0.2.1", failure=WrongError, known=known):
                return True
        except RateLimitedError:
            return False

    assert await owner_gets_in(Attempts(), known=True)
    assert not await owner_gets_in(Attempts(), known=False)  # weak: one lock for owner and strangers


async def test_attack_waiting_out_the_short_limit_for_days() -> None:
    async def looked_at(attempts: Attempts) -> int:
        count = 0
        for _ in range(2 * 24 * 60):  # a guess a minute
            count += await tried(attempts, "ann", "")
            await asyncio.sleep(60)
        return count

    assert await looked_at(Attempts()) <= 100 + 2 * 200
    assert await looked_at(Attempts(account=(RateLimit(0.1, burst=9),))) == 2 * 24 * 60  # weak: the short limit alone
