"""Second factors: one-time codes by the vectors of their RFC, codes on paper, sealed secrets, passkeys."""

import asyncio
import re
from xml.etree import ElementTree as ET

import pytest
from soft_authenticator import PRESENT, Device

from archstone.errors import ConfigError
from archstone.security import (
    BackupCodes,
    Cost,
    Passkey,
    PasskeyError,
    Passkeys,
    Passwords,
    Totp,
)

CHEAP = Cost(memory_kib=64, passes=1)
SHA1, SHA256, SHA512 = (b"1234567890" * 7)[:20], (b"1234567890" * 7)[:32], (b"1234567890" * 7)[:64]
VECTORS = [
    (59, "94287082", "46119246", "90693936"),
    (1111111109, "07081804", "68084774", "25091201"),
    (1111111111, "14050471", "67062674", "99943326"),
    (1234567890, "89005924", "91819424", "93441116"),
    (2000000000, "69279037", "90698825", "38618901"),
    (20000000000, "65353130", "77737706", "47863826"),
]
"""RFC 6238, appendix B."""


@pytest.mark.parametrize(("at_s", "sha1", "sha256", "sha512"), VECTORS)
def test_the_codes_are_those_of_rfc_6238(at_s: int, sha1: str, sha256: str, sha512: str) -> None:
    assert Totp("x", digits=8).code(SHA1, step=at_s // 30) == sha1
    assert Totp("x", digits=8, algorithm="SHA256").code(SHA256, step=at_s // 30) == sha256
    assert Totp("x", digits=8, algorithm="SHA512").code(SHA512, step=at_s // 30) == sha512


async def test_a_code_is_good_in_its_step_and_one_beside_it_and_once() -> None:
    totp = Totp("Shop")
    secret, now = totp.new_secret(), totp.step()
    matched = [totp.match(secret, totp.code(secret, step=now + each)) for each in range(-3, 4)]
    assert matched == [None, None, now - 1, now, now + 1, None, None]
    strict = Totp("Shop", drift_steps=0)
    assert [strict.match(secret, totp.code(secret, step=now + each)) for each in (-1, 0, 1)] == [None, now, None]
    assert totp.match(secret, totp.code(secret), after=now) is None
    assert totp.match(secret, totp.code(secret), after=now - 1) == now
    await asyncio.sleep(91)
    assert totp.match(secret, totp.code(secret, step=now)) is None


def test_blanks_do_not_count_and_what_is_no_code_is_refused() -> None:
    totp = Totp("Shop")
    secret = totp.new_secret()
    code = totp.code(secret)
    assert totp.match(secret, f" {code[:3]} {code[3:]}\n") == totp.step()
    wide = "".join(chr(0xFF10 + int(digit)) for digit in code)
    for wrong in ("", "12345", f"{code}1", "abcdef", wide, "-1", "1" * 10_000, "\ud800" * 6):
        assert totp.match(secret, wrong) is None


def test_an_app_is_told_all_it_needs_in_a_picture_without_script() -> None:
    totp = Totp("Archstone Shop")
    secret = totp.new_secret()
    uri = totp.uri(secret, account="ann@example.com")
    assert uri.startswith("otpauth://totp/Archstone%20Shop:ann%40example.com?secret=")
    assert totp.text_of(secret).replace(" ", "") in uri
    drawn = totp.qr_svg(secret, account="ann@example.com")
    assert {each.tag.rpartition("}")[2] for each in ET.fromstring(drawn).iter()} <= {"svg", "path", "g"}
    assert not re.search(r"<script|\bon\w+=|style=", drawn)
    assert "viewBox" in drawn.partition(">")[0]  # so that a page says how large it is
    assert len(secret) == 20


def test_faults_of_settings_are_told_together() -> None:
    with pytest.raises(ConfigError, match=r"issuer=.*digits=5.*step_s=10.*drift_steps=3.*algorithm='MD5'"):
        Totp("a:b", digits=5, step_s=10, drift_steps=3, algorithm="MD5")  # type: ignore[arg-type]
    for good in ({"digits": 8}, {"step_s": 15}, {"step_s": 120}, {"drift_steps": 0}, {"drift_steps": 2}):
        Totp("a", **good)  # type: ignore[arg-type]


async def test_backup_codes_are_ten_different_ones_that_fit_their_own_hash() -> None:
    async with Passwords(cost=CHEAP) as passwords:
        codes = BackupCodes(passwords)
        fresh = await codes.make()
        assert len({row.slot for row in fresh.rows}) == len(fresh.texts) == 10
        assert all(re.fullmatch("([2-9A-HJ-NP-Z]{4}-){2}[2-9A-HJ-NP-Z]{4}", text) for text in fresh.texts)
        assert all(row.hash.startswith("$argon2id$") for row in fresh.rows)
        stored = dict(fresh.rows)
        for text in fresh.texts[:3]:
            typed = f" {text.lower().replace('-', ' ')} "
            slot = codes.slot_of(typed)
            assert await codes.fits(stored[slot], typed)
            other = next(each for each in stored if each != slot)
            assert not await codes.fits(stored[other], typed)
        assert not await codes.fits(None, fresh.texts[0])
        for wrong in ("", "short", fresh.texts[0] + "A", "0" * 12, "\u212a" * 12):
            assert codes.slot_of(wrong) == ""
            assert not await codes.fits(None, wrong)
    with pytest.raises(ConfigError, match="count=33"):
        BackupCodes(passwords, count=33)


SITE = Passkeys(rp_id="shop.example.com", rp_name="Shop", origins=["https://shop.example.com"])


def registered(device: Device, site: Passkeys = SITE) -> Passkey:
    asked = site.begin_registration(b"ann", "ann@example.com")
    made = site.finish_registration(device.register(asked.challenge), asked.challenge)
    return Passkey(made.id, made.public_key, made.sign_count)


def test_a_passkey_is_registered_and_signs_in_without_a_name() -> None:
    device = Device()
    stored = registered(device)
    asked = SITE.begin_authentication()
    assert '"allowCredentials": []' in asked.options
    assert '"userVerification": "required"' in asked.options
    device.count = 2
    answer = device.sign(asked.challenge)
    assert SITE.id_of(answer) == stored.id == device.id
    assert SITE.finish_authentication(answer, asked.challenge, stored) == (2, b"ann")


def test_a_page_asks_for_a_key_that_is_found_without_a_name_and_not_twice_on_one_device() -> None:
    asked = SITE.begin_registration(b"ann", "ann@example.com", display_name="Ann", known=[b"k" * 32])
    for wanted in ('"residentKey": "required"', '"userVerification": "required"', '"excludeCredentials": [{', '"Ann"'):
        assert wanted in asked.options
    assert SITE.begin_registration(b"ann", "x").challenge != asked.challenge


def test_a_key_that_does_not_count_may_stay_at_zero() -> None:
    device = Device(count=0)
    stored = registered(device)
    asked = SITE.begin_authentication([stored.id])
    assert SITE.finish_authentication(device.sign(asked.challenge), asked.challenge, stored).sign_count == 0


@pytest.mark.parametrize("origin", ["http://localhost", "http://localhost:8080", "http://localhost:49152"])
def test_on_ones_own_machine_any_port_will_do(origin: str) -> None:
    site = Passkeys(rp_id="localhost", rp_name="Shop", origins=["http://localhost:8080"])
    device = Device(rp_id="localhost", origin=origin)
    stored = registered(device, site)
    asked = site.begin_authentication()
    device.count = 2
    assert site.finish_authentication(device.sign(asked.challenge), asked.challenge, stored).sign_count == 2


@pytest.mark.parametrize("answer", ["", "{", "[]", "{}", '{"id": 1}', '{"id": ""}', "x" * 70_000, "[" * 60_000])
def test_what_is_no_answer_is_refused(answer: str) -> None:
    asked = SITE.begin_authentication()
    stored = Passkey(b"k", b"k", 0)
    for refuse in (
        lambda: SITE.id_of(answer),
        lambda: SITE.finish_authentication(answer, asked.challenge, stored),
        lambda: SITE.finish_registration(answer, asked.challenge),
    ):
        with pytest.raises(PasskeyError):
            refuse()


@pytest.mark.parametrize(
    ("rp_id", "origin", "fault"),
    [
        ("shop.example.com", "http://shop.example.com", "must be https"),
        ("shop.example.com", "https://evil.example", "does not belong"),
        ("shop.example.com", "https://notshop.example.com", "does not belong"),
        ("shop.example.com", "https://shop.example.com/login", "must be scheme"),
        ("shop.example.com", "shop.example.com", "must be scheme"),
    ],
)
def test_an_origin_belongs_to_the_site(rp_id: str, origin: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        Passkeys(rp_id=rp_id, rp_name="x", origins=[origin])
    with pytest.raises(ConfigError, match="challenge_s=29"):
        Passkeys(rp_id="x", rp_name="x", origins=["https://x"], challenge_s=29)


def test_a_user_who_was_only_present_is_not_verified() -> None:
    device = Device(flags=PRESENT)
    asked = SITE.begin_registration(b"ann", "x")
    with pytest.raises(PasskeyError, match="not verified"):
        SITE.finish_registration(device.register(asked.challenge), asked.challenge)
