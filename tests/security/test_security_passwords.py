"""Passwords: right and wrong, renewal, the bounded line, and the time that tells nothing."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archstone import world
from archstone.security import Cost, Passwords, PasswordsBusyError, PasswordTooLongError, StoredHashError, Verdict

CHEAP = Cost(memory_kib=64, passes=1)


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    made = Passwords(cost=CHEAP)
    yield made
    made.close()


async def test_the_right_password_is_right_and_another_is_wrong(passwords: Passwords) -> None:
    stored = await passwords.hash("correct horse")
    assert await passwords.verify(stored, "correct horse") == Verdict(right=True)
    assert await passwords.verify(stored, "correct horsf") == Verdict(right=False)


async def test_the_same_password_has_two_hashes_and_neither_shows_it(passwords: Passwords) -> None:
    one, other = await passwords.hash("secret word"), await passwords.hash("secret word")
    assert one != other
    assert "secret" not in one


async def test_the_default_cost_is_19_mib_two_passes_one_lane() -> None:
    async with Passwords() as passwords:
        stored = await passwords.hash("x")
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


async def test_an_unknown_user_is_never_right(passwords: Passwords) -> None:
    assert await passwords.verify(None, "") == Verdict(right=False)
    assert await passwords.verify(None, "anything") == Verdict(right=False)


@pytest.mark.real_time
async def test_an_unknown_user_takes_as_long_as_a_wrong_password() -> None:
    async with Passwords() as passwords:
        stored = await passwords.hash("right")

        async def best_s(against: str | None) -> float:
            times: list[float] = []
            for _ in range(5):
                before_s = world.monotonic()
                await passwords.verify(against, "wrong")
                times.append(world.monotonic() - before_s)
            return min(times)

        known_s, unknown_s = await best_s(stored), await best_s(None)
        too_long_s = await best_s(stored)
    assert 0.5 < unknown_s / known_s < 2
    assert 0.5 < too_long_s / known_s < 2


async def test_a_hash_with_other_parameters_comes_with_a_new_one(passwords: Passwords) -> None:
    async with Passwords(cost=Cost(memory_kib=128, passes=1)) as older:
        stored = await older.hash("word")
    verdict = await passwords.verify(stored, "word")
    assert verdict.right
    assert verdict.new_hash is not None
    assert await passwords.verify(verdict.new_hash, "word") == Verdict(right=True)
    assert await passwords.verify(stored, "wrong") == Verdict(right=False)


@pytest.mark.parametrize(
    "stored", ["", "plain text", "$argon2id$v=19$m=64,t=1,p=1$bad", "$2b$12$abcdefghijklmnopqrstuv", "é"]
)
async def test_what_is_no_hash_is_an_error_of_ours_and_not_a_wrong_password(passwords: Passwords, stored: str) -> None:
    with pytest.raises(StoredHashError, match="not an argon2 hash"):
        await passwords.verify(stored, "word")


async def test_the_length_of_a_password_is_bounded(passwords: Passwords) -> None:
    longest = "x" * Passwords.LIMIT_BYTES
    stored = await passwords.hash(longest)
    assert await passwords.verify(stored, longest) == Verdict(right=True)
    assert await passwords.verify(stored, longest + "x") == Verdict(right=False)
    with pytest.raises(PasswordTooLongError, match="1025 bytes, limit 1024"):
        await passwords.hash(longest + "x")


async def test_one_accent_typed_in_two_ways_is_one_password(passwords: Passwords) -> None:
    stored = await passwords.hash("caf\u00e9")
    assert await passwords.verify(stored, "cafe\u0301") == Verdict(right=True)


@given(word=st.text(max_size=40), other=st.text(max_size=40))
@settings(max_examples=40, deadline=None)
async def test_any_text_is_a_password(word: str, other: str) -> None:
    import unicodedata

    async with Passwords(cost=CHEAP) as passwords:
        stored = await passwords.hash(word)
        assert (await passwords.verify(stored, word)).right
        same = unicodedata.normalize("NFKC", word) == unicodedata.normalize("NFKC", other)
        assert (await passwords.verify(stored, other)).right is same


@pytest.mark.real_time
async def test_at_most_two_run_at_once_and_a_full_line_turns_away() -> None:
    async with Passwords(cost=CHEAP, at_once=2, waiting=3) as passwords:
        running, most, gate = 0, 0, threading.Event()
        lock = threading.Lock()

        def work() -> None:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            gate.wait(5)
            with lock:
                running -= 1

        tasks = [asyncio.create_task(passwords._off_loop(work)) for _ in range(5)]
        while running < 2:
            await asyncio.sleep(0.001)
        with pytest.raises(PasswordsBusyError, match="3 already wait to be hashed, limit 3") as caught:
            await passwords.verify(None, "word")
        assert caught.value.retry_after_s >= 0.04
        tasks[4].cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(passwords._off_loop(work)))  # the place is free again
        gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert most == 2
    assert [type(result).__name__ for result in results].count("CancelledError") == 1


@pytest.mark.real_time
async def test_a_cancelled_caller_does_not_free_the_slot_of_its_thread() -> None:
    async with Passwords(cost=CHEAP, at_once=1, waiting=0) as passwords:
        gate, begun = threading.Event(), threading.Event()

        def work() -> None:
            begun.set()
            gate.wait(5)

        task = asyncio.create_task(passwords._off_loop(work))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(PasswordsBusyError):
            await passwords.hash("word")
        gate.set()
        while passwords._slots.locked():
            await asyncio.sleep(0.001)
        assert await passwords.hash("word")


@pytest.mark.real_time
async def test_the_loop_goes_on_while_passwords_are_hashed() -> None:
    async with Passwords() as passwords:
        hashing = asyncio.gather(*(passwords.hash("word") for _ in range(6)))
        turns = 0
        while not hashing.done():
            await asyncio.sleep(0)
            turns += 1
        await hashing
    # Hashed on the loop it would be a few. By turns, not by the clock, which others on the machine stop for a while.
    assert turns > 100
