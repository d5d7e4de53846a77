"""Getting past a second factor. Beside each attack stands what falls to it."""

import asyncio
import base64
import hashlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pyotp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from soft_authenticator import PRESENT, VERIFIED, Device
from webauthn import verify_authentication_response
from webauthn.helpers.exceptions import InvalidAuthenticationResponse, InvalidJSONStructure

from archstone import world
from archstone.data import Database
from archstone.resilience import RateLimitedError
from archstone.security import (
    Attempts,
    BackupCodes,
    Cost,
    Passkey,
    PasskeyError,
    Passkeys,
    Passwords,
    SealRing,
    Totp,
)
from archstone.security.encryption import BrokenSealError

CHEAP = Cost(memory_kib=64, passes=1)
TOTP = Totp("Shop")
SITE = Passkeys(rp_id="shop.example.com", rp_name="Shop", origins=["https://shop.example.com"])


class WrongError(Exception):
    """It was the wrong one."""


def weakly_accepted(secret: bytes, code: str) -> bool:
    """Accept as the guide does: whatever is good now."""
    made = pyotp.TOTP(base64.b32encode(secret).decode())
    return made.verify(code, for_time=world.now_us() // 1_000_000, valid_window=1)


async def test_attack_a_code_is_used_again_by_who_has_looked_over_the_shoulder() -> None:
    secret = TOTP.new_secret()
    code = TOTP.code(secret)
    used = TOTP.match(secret, code)
    assert used is not None
    await asyncio.sleep(20)
    assert TOTP.match(secret, code, after=used) is None
    assert weakly_accepted(secret, code)


async def test_attack_an_older_code_is_used_after_a_newer_one() -> None:
    secret = TOTP.new_secret()
    older, newer = TOTP.code(secret, step=TOTP.step() - 1), TOTP.code(secret)
    used = TOTP.match(secret, newer)
    assert used is not None
    assert TOTP.match(secret, older, after=used) is None
    assert weakly_accepted(secret, older)


async def test_attack_one_code_is_sent_twice_at_the_same_moment(tmp_path: Path) -> None:
    secret = TOTP.new_secret()
    code = TOTP.code(secret)

    async def compared(db: Database) -> bool:
        last = await db.one(int, "SELECT last FROM factors")
        step = TOTP.match(secret, code, after=last)
        await asyncio.sleep(0)
        return step is not None and bool(
            await db.execute("UPDATE factors SET last = :step WHERE last < :step", step=step)
        )

    async def looked_first(db: Database) -> bool:
        """Weak: believes what it read before."""
        last = await db.one(int, "SELECT last FROM factors")
        step = TOTP.match(secret, code, after=last)
        await asyncio.sleep(0)
        return step is not None and bool(await db.execute("UPDATE factors SET last = :step", step=step))

    async def got_in(check: Callable[[Database], Awaitable[bool]]) -> int:
        async with Database(f"sqlite:///{tmp_path}/{check.__name__}.db") as db:
            await db.execute("CREATE TABLE factors (last INTEGER NOT NULL)")
            await db.execute("INSERT INTO factors (last) VALUES (-1)")
            return sum(await asyncio.gather(*(check(db) for _ in range(5))))

    assert await got_in(compared) == 1
    assert await got_in(looked_first) == 5


async def test_attack_the_six_digits_are_guessed() -> None:
    secret, attempts = TOTP.new_secret(), Attempts("codes")

    async def guesses(limit: Attempts | None) -> int:
        looked_at = 0
        for number in range(2_000):
            try:
                if limit is None:
                    looked_at += 1
                    TOTP.match(secret, f"{number:06}")
                    continue
                async with limit.admit("ann", "", failure=WrongError):
                    looked_at += 1
                    raise WrongError
            except (WrongError, RateLimitedError):
                pass
        return looked_at

    assert await guesses(attempts) == 10
    assert await guesses(None) == 2_000  # weak: nobody counts


@given(text=st.text(max_size=12))
@settings(max_examples=200)
def test_attack_digits_of_other_scripts_pass_as_a_code(text: str) -> None:
    secret = bytes(20)
    wide = "".join(chr(0x0660 + int(each)) for each in TOTP.code(secret))
    for typed in (wide, text):
        assert TOTP.match(secret, typed) is None or typed.strip().isascii()

    def weak(code: str) -> bool:
        return code.isdigit() and len(code) == 6 and int(code) == int(TOTP.code(secret))

    assert weak(wide)


def test_attack_the_secret_of_ones_own_app_is_put_into_somebody_elses_row() -> None:
    ring = SealRing.generate()
    mine = ring.seal(b"s" * 20, context="totp/mallory")
    with pytest.raises(BrokenSealError):
        ring.open(mine, context="totp/ann")
    unbound = ring.seal(b"s" * 20, context="")
    assert ring.open(unbound, context="") == b"s" * 20  # weak: sealed without its place it opens in any


def test_attack_secrets_are_read_from_a_stolen_database() -> None:
    secret = TOTP.new_secret()
    stored, weak = SealRing.generate().seal(secret, context="totp/ann"), base64.b32encode(secret)
    assert secret not in stored
    assert base64.b32decode(weak) == secret


def test_attack_a_sealed_secret_is_changed_bit_by_bit() -> None:
    ring, secret = SealRing.generate(), b"s" * 20
    stored = ring.seal(secret, context="totp/ann")
    for place in range(len(stored) * 8):
        changed = bytearray(stored)
        changed[place // 8] ^= 1 << place % 8
        with pytest.raises(BrokenSealError):
            ring.open(bytes(changed), context="totp/ann")
    weak = bytearray(each ^ 0x55 for each in secret)
    weak[0] ^= 1
    assert bytes(each ^ 0x55 for each in weak) != secret  # a cipher without a tag opens to something else, silently


async def test_attack_backup_codes_are_found_from_their_stored_hashes() -> None:
    async with Passwords(cost=CHEAP) as passwords:
        fresh = await BackupCodes(passwords).make()
    code = fresh.texts[0].replace("-", "")
    quick = hashlib.sha256(code.encode()).hexdigest()
    table = {hashlib.sha256(each.encode()).hexdigest(): each for each in (code, "other")}
    assert table[quick] == code  # weak: one table opens every account's quick hash
    assert not any(row.hash in table for row in fresh.rows)
    assert len({row.hash.split("$")[4] for row in fresh.rows}) == 10  # a salt each
    assert code not in repr(fresh.rows)


async def test_attack_a_backup_code_is_used_twice_at_the_same_moment(tmp_path: Path) -> None:
    async with Passwords(cost=CHEAP) as passwords, Database(f"sqlite:///{tmp_path}/x.db") as db:
        codes = BackupCodes(passwords)
        fresh = await codes.make()
        await db.execute("CREATE TABLE codes (slot TEXT, hash TEXT)")
        await db.many("INSERT INTO codes VALUES (:slot, :hash)", [row._asdict() for row in fresh.rows])
        slot = codes.slot_of(fresh.texts[0])

        async def use(statement: str) -> bool:
            found = await db.first(str, "SELECT hash FROM codes WHERE slot = :slot", slot=slot)
            fits = await codes.fits(found, fresh.texts[0])
            return fits and bool(await db.execute(statement, slot=slot, hash=found))

        async def got_in(statement: str) -> int:
            return sum(await asyncio.gather(*(use(statement) for _ in range(3))))

        # Weak: only marked.
        assert await got_in("UPDATE codes SET hash = hash WHERE slot = :slot AND hash = :hash") == 3
        assert await got_in("DELETE FROM codes WHERE slot = :slot AND hash = :hash") == 1


# Passkeys: the weak variant is the library called with what a hurried reader of its page would leave out.


def registered(device: Device) -> Passkey:
    asked = SITE.begin_registration(b"ann", "x")
    made = SITE.finish_registration(device.register(asked.challenge), asked.challenge)
    return Passkey(made.id, made.public_key, made.sign_count)


def refused(answer: str, challenge: bytes, stored: Passkey) -> str:
    with pytest.raises(PasskeyError) as caught:
        SITE.finish_authentication(answer, challenge, stored)
    return caught.value.reason


def weakly(
    answer: str,
    challenge: bytes,
    stored: Passkey,
    *,
    origin: str = "https://shop.example.com",
    site: str = "shop.example.com",
) -> bool:
    told = json.loads(answer)
    verify_authentication_response(
        credential=told, expected_challenge=challenge, expected_rp_id=site, expected_origin=origin,
        credential_public_key=stored.public_key, credential_current_sign_count=0,
    )  # fmt: skip
    return True


def test_attack_an_answer_is_sent_again_for_another_sign_in() -> None:
    device = Device(count=5)
    stored = registered(device)
    asked = SITE.begin_authentication()
    answer = device.sign(asked.challenge)
    assert "another challenge" in refused(answer, SITE.begin_authentication().challenge, stored)
    assert weakly(answer, asked.challenge, stored)  # where a challenge may serve twice
    assert weakly(answer, asked.challenge, stored)


def test_attack_a_page_that_looks_like_ours_asks_for_the_passkey() -> None:
    device = Device(count=0)
    stored = registered(device)
    device.origin = "https://shop-example.com.evil.example"
    asked = SITE.begin_authentication()
    answer = device.sign(asked.challenge)
    assert "another site" in refused(answer, asked.challenge, stored)
    assert weakly(answer, asked.challenge, stored, origin=device.origin)  # where the page says which origin it has


def test_attack_a_key_of_another_site_is_used() -> None:
    device = Device(count=0)
    stored = registered(device)
    device.rp_id = "evil.example"
    asked = SITE.begin_authentication()
    answer = device.sign(asked.challenge)
    assert "another site" in refused(answer, asked.challenge, stored)
    # Weak: believes the hash of the site that the answer brings along.
    assert weakly(answer, asked.challenge, stored, site="evil.example")


def test_attack_a_stolen_device_signs_without_its_owner() -> None:
    device = Device(count=0, flags=PRESENT | VERIFIED)
    stored = registered(device)
    device.flags = PRESENT
    asked = SITE.begin_authentication()
    answer = device.sign(asked.challenge)
    assert "not verified" in refused(answer, asked.challenge, stored)
    assert weakly(answer, asked.challenge, stored)  # the library's default


def test_attack_a_copy_of_a_key_signs() -> None:
    device = Device(count=7)
    stored = registered(device)
    asked = SITE.begin_authentication()
    answer = device.sign(asked.challenge)
    assert "may have a copy" in refused(answer, asked.challenge, stored._replace(sign_count=9))
    assert weakly(answer, asked.challenge, stored)  # where the counter is not stored


def test_attack_another_key_signs_under_the_name_of_a_stored_one() -> None:
    stored = registered(Device(count=0))
    thief = Device(count=0)
    asked = SITE.begin_authentication()
    answer = thief.sign(asked.challenge)
    assert "signature" in refused(answer, asked.challenge, stored)

    def by_name(answer: str, known: dict[bytes, Passkey]) -> bool:
        """Weak: looks the key up, and at what was signed, and never whether it was."""
        signed = json.loads(base64.urlsafe_b64decode(json.loads(answer)["response"]["clientDataJSON"] + "=="))
        same = base64.urlsafe_b64decode(signed["challenge"] + "==") == asked.challenge
        return SITE.id_of(answer) in known and same and signed["origin"] == "https://shop.example.com"

    assert by_name(answer, {stored.id: stored})


def test_attack_an_answer_to_a_registration_signs_in() -> None:
    device = Device(count=0)
    stored = registered(device)
    asked = SITE.begin_authentication()
    answer = device.register(asked.challenge)
    refused(answer, asked.challenge, stored)

    def either(answer: str) -> bool:
        """Weak: takes any proof of the key for the challenge, whatever the ceremony was."""
        try:
            return weakly(answer, asked.challenge, stored)
        except (InvalidJSONStructure, InvalidAuthenticationResponse):
            made = SITE.finish_registration(answer, asked.challenge)
            return made.id == stored.id

    assert either(answer)
