"""Attacks on data at rest. Whoever attacks can read and write the database and its backups, and has no key.

Each attack is a function that returns whether it came through. Each test tries it on what we ship, where it must not,
and on a weak variant, as one meets them, where it must: an attack that nothing falls to shows nothing.
"""

import asyncio
import base64
import hashlib
import itertools
import json
import zlib
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from archstone import world
from archstone.data import Database
from archstone.security.encryption import (
    Argon2,
    BlindIndex,
    BrokenSealError,
    DataKeys,
    DerivationTextError,
    Encrypted,
    KeysDestroyedError,
    KeyServiceError,
    RootKeyError,
    RootKeys,
    SealedColumn,
    SealRing,
    UnknownSealKeyError,
    parse,
    ring,
)
from archstone.security.encryption.testing import StandInKms

MINE, YOURS = "accounts.balance/7", "accounts.balance/8"
OLD, NEW = bytes(32), bytes(range(32))


# Weak variants


class Unbound(SealRing):
    """Leaves the place out, as Fernet does and as the guide's `EncryptedField` does."""

    def seal(self, plaintext: bytes, *, context: str) -> bytes:
        return super().seal(plaintext, context="")

    def open(self, sealed: bytes, *, context: str) -> bytes:
        return super().open(sealed, context="")


class Untagged(SealRing):
    """A stream of key bytes and a checksum in place of a tag."""

    def seal(self, plaintext: bytes, *, context: str) -> bytes:
        nonce = world.secret_bytes(12)
        sum_of = zlib.crc32(plaintext).to_bytes(4, "big")
        return nonce + _xor(plaintext + sum_of, self._stream(nonce, len(plaintext) + 4))

    def open(self, sealed: bytes, *, context: str) -> bytes:
        if len(sealed) < 16:
            raise BrokenSealError(context, "too short")
        return _xor(sealed[12:], self._stream(sealed[:12], len(sealed) - 12))[:-4]

    def _stream(self, nonce: bytes, length: int) -> bytes:
        key = next(iter(self._keys.values()))
        return AESGCM(key).encrypt(nonce, bytes(length), b"")[:length]


class Lenient(SealRing):
    """Opens older formats too: 0 was base64, from the time before values were sealed."""

    def open(self, sealed: bytes, *, context: str) -> bytes:
        return base64.b64decode(sealed[1:]) if sealed[:1] == b"\x00" else super().open(sealed, context=context)


class Trusting(SealRing):
    """Takes the key that the value brings along, as tokens with `jwk` in their header did."""

    def open(self, sealed: bytes, *, context: str) -> bytes:
        key, rest = sealed[-32:], sealed[:-32]
        if len(sealed) > 85 and ring.key_id(key) == sealed[1:9]:
            return SealRing([key]).open(rest, context=context)
        return super().open(sealed, context=context)


class Unsalted(SealRing):
    """One key for all messages, and nonces of few bits."""

    def seal(self, plaintext: bytes, *, context: str) -> bytes:
        nonce = bytes(11) + world.secret_bytes(1)
        return bytes(25) + nonce + AESGCM(OLD).encrypt(nonce, plaintext, b"")


def _xor(one: bytes, two: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, two, strict=True))


def came_through(attack: Callable[[], bool]) -> bool:
    try:
        return attack()
    except (BrokenSealError, KeysDestroyedError, DerivationTextError, RootKeyError, KeyServiceError):
        return False


# The sealed value


@pytest.mark.parametrize(("kind", "falls"), [(SealRing, False), (Unbound, True)])
def test_attack_a_value_is_copied_to_another_row(kind: type[SealRing], falls: bool) -> None:
    def attack() -> bool:
        keys = kind([OLD])
        rich = keys.seal(b"1000000", context=YOURS)
        return keys.open(rich, context=MINE) == b"1000000"

    assert came_through(attack) == falls


@pytest.mark.parametrize(("kind", "falls"), [(SealRing, False), (Unbound, True)])
def test_attack_a_value_is_copied_to_a_column_that_is_shown(kind: type[SealRing], falls: bool) -> None:
    def attack() -> bool:
        keys = kind([OLD])
        hidden = SealedColumn(str, "users", "ssn").seal("078-05-1120", row="7", ring=keys)
        return SealedColumn(str, "users", "nickname").open(hidden, row="7", ring=keys) == "078-05-1120"

    assert came_through(attack) == falls


@pytest.mark.parametrize(("kind", "falls"), [(SealRing, False), (Untagged, True)])
def test_attack_a_bit_is_flipped(kind: type[SealRing], falls: bool) -> None:
    sealed = kind([OLD]).seal(b"balance=1", context=MINE)

    def attack_at(bit: int) -> bool:
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        return kind([OLD]).open(bytes(changed), context=MINE) != b"balance=1"

    assert any(came_through(lambda bit=bit: attack_at(bit)) for bit in range(8 * len(sealed))) == falls


@pytest.mark.parametrize(("kind", "falls"), [(SealRing, False), (Untagged, True)])
def test_attack_a_known_value_is_rewritten(kind: type[SealRing], falls: bool) -> None:
    """Knowing what a row holds, an attacker turns it into what it should hold: the stream of key bytes is known."""

    def attack() -> bool:
        keys = kind([OLD])
        sealed = keys.seal(b"balance=1", context=MINE)
        known, wanted = (text + zlib.crc32(text).to_bytes(4, "big") for text in (b"balance=1", b"balance=9"))
        forged = sealed[:-13] + _xor(sealed[-13:], _xor(known, wanted))
        return keys.open(forged, context=MINE) == b"balance=9"

    assert came_through(attack) == falls


@pytest.mark.parametrize(("kind", "falls"), [(SealRing, False), (Untagged, True)])
def test_attack_a_value_is_cut(kind: type[SealRing], falls: bool) -> None:
    sealed = kind([OLD]).seal(b"allow=no,deny=all", context=MINE)
    cut = [came_through(lambda n=n: kind([OLD]).open(sealed[:n], context=MINE) is not None) for n in range(len(sealed))]
    assert any(cut) == falls


@pytest.mark.parametrize(("kind", "falls"), [(SealRing, False), (Untagged, True)])
def test_attack_something_is_appended(kind: type[SealRing], falls: bool) -> None:
    sealed = kind([OLD]).seal(b"amount=1", context=MINE)
    assert came_through(lambda: kind([OLD]).open(sealed + b"0", context=MINE) is not None) == falls


@given(st.binary(max_size=200))
def test_attack_whatever_is_written_in_place_of_a_value_is_refused(made_up: bytes) -> None:
    """The weak variant stands beside it: without a tag, anything at all opens."""
    assert not came_through(lambda: SealRing([OLD]).open(made_up, context=MINE) is not None)
    head = b"\x01" + ring.key_id(OLD)
    assert not came_through(lambda: SealRing([OLD]).open(head + made_up, context=MINE) is not None)
    assert len(made_up) < 16 or came_through(lambda: Untagged([OLD]).open(made_up, context=MINE) is not None)


@pytest.mark.parametrize(("kind", "falls"), [(SealRing, False), (Lenient, True)])
def test_attack_the_format_in_the_header_is_lowered(kind: type[SealRing], falls: bool) -> None:
    def attack() -> bool:
        forged = b"\x00" + base64.b64encode(b"balance=1000000" + bytes(60))
        return kind([OLD]).open(forged, context=MINE).startswith(b"balance=1000000")

    assert came_through(attack) == falls


class Careless(SealRing):
    """Looks past the byte that says the format."""

    def open(self, sealed: bytes, *, context: str) -> bytes:
        return super().open(b"\x01" + sealed[1:], context=context)


@pytest.mark.parametrize(("kind", "falls"), [(SealRing, False), (Careless, True)])
def test_attack_a_value_is_passed_off_as_one_of_another_format(kind: type[SealRing], falls: bool) -> None:
    sealed = kind([OLD]).seal(b"a", context=MINE)

    def attack(version: int) -> bool:
        return kind([OLD]).open(bytes([version]) + sealed[1:], context=MINE) == b"a"

    assert any(came_through(lambda v=version: attack(v)) for version in [0, *range(2, 256)]) == falls


@pytest.mark.parametrize(("kind", "falls"), [(SealRing, False), (Trusting, True)])
def test_attack_a_value_brings_its_own_key_along(kind: type[SealRing], falls: bool) -> None:
    def attack() -> bool:
        own = b"k" * 32
        forged = SealRing([own]).seal(b"balance=1000000", context=MINE) + own
        return kind([OLD]).open(forged, context=MINE) == b"balance=1000000"

    assert came_through(attack) == falls


def test_attack_the_name_of_another_key_is_put_into_the_header() -> None:
    """Key confusion: a value under the old key, which leaked, is passed off as one under the new key."""

    def attack(open_under: Callable[[bytes], bytes]) -> bool:
        leaked = SealRing([OLD]).seal(b"balance=1000000", context=MINE)
        passed_off = leaked[:1] + ring.key_id(NEW) + leaked[9:]
        return open_under(passed_off) == b"balance=1000000"

    def weak(sealed: bytes) -> bytes:
        """Tries all keys it has, whatever the header says."""
        for key in (NEW, OLD):
            try:
                return SealRing([key]).open(sealed[:1] + ring.key_id(key) + sealed[9:], context=MINE)
            except BrokenSealError:
                continue
        raise BrokenSealError(MINE, "no key opens it")

    assert not came_through(lambda: attack(lambda sealed: SealRing([NEW, OLD]).open(sealed, context=MINE)))
    assert came_through(lambda: attack(weak))


@pytest.mark.parametrize(("kind", "falls"), [(SealRing, False), (Unsalted, True)])
def test_attack_a_nonce_comes_twice_and_gives_away_what_was_sealed(kind: type[SealRing], falls: bool) -> None:
    """Two messages under one key and nonce: their XOR is that of their texts, and one of them is known."""
    keys = kind([OLD])
    known, secret = b"known text, 20 bytes", b"the secret, 20 bytes"
    seals = [keys.seal(known if number % 2 else secret, context=MINE) for number in range(800)]
    by_nonce: dict[bytes, set[bytes]] = {}
    for sealed in seals:
        by_nonce.setdefault(sealed[9:37], set()).add(sealed[37:57])
    found = any(
        _xor(_xor(one, two), known) == secret
        for bodies in by_nonce.values()
        for one, two in itertools.combinations(bodies, 2)
    )
    assert found == falls


def test_attack_so_many_values_that_nonces_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound: no derived key seals more than it may, whatever a program asks for. The weak variant has none."""
    assert ring.MESSAGES_OF_A_KEY**2 / 2 / 2**96 < 2**-56

    def most_under_one_key() -> int:
        keys = SealRing([OLD])
        salts = [keys.seal(b"", context=MINE)[9:25] for _ in range(64)]
        return max(salts.count(salt) for salt in salts)

    monkeypatch.setattr(ring, "MESSAGES_OF_A_KEY", 8)
    assert most_under_one_key() == 8
    monkeypatch.setattr(ring, "MESSAGES_OF_A_KEY", 2**62)
    assert most_under_one_key() == 64


def test_attack_equal_values_are_found_by_comparing() -> None:
    """Sealing says nothing about which rows hold the same; the weak variant derives its nonce from the text."""

    def weak(plaintext: bytes) -> bytes:
        nonce = hashlib.sha256(plaintext).digest()[:12]
        return nonce + AESGCM(OLD).encrypt(nonce, plaintext, b"")

    keys = SealRing([OLD])
    assert keys.seal(b"HIV positive", context=MINE)[37:] != keys.seal(b"HIV positive", context=MINE)[37:]
    assert weak(b"HIV positive") == weak(b"HIV positive")


def test_attack_a_value_in_the_clear_is_put_in_place_of_a_sealed_one() -> None:
    """Somebody who writes plain text into a sealed column is not believed; a reader with a fallback would believe."""

    def fallback(stored: bytes) -> str:
        """Weak: what is not sealed is taken as it is."""
        try:
            return SealedColumn(str, "a", "b").open(stored, row="7", ring=SealRing([OLD]))
        except BrokenSealError:
            return stored.decode()  # "not migrated yet"

    forged = Encrypted(b'"admin"')
    assert not came_through(lambda: SealedColumn(str, "a", "b").open(forged, row="7", ring=SealRing([OLD])) == "admin")
    assert came_through(lambda: "admin" in fallback(forged))


# The blind index


def guesses() -> list[str]:
    return [f"person{number}@example.com" for number in range(500)]


def test_attack_marks_are_guessed_without_the_key() -> None:
    stolen = BlindIndex([NEW], "users.email").mark("person77@example.com")

    def weak(text: str) -> bytes:
        return hashlib.sha256(text.encode()).digest()

    def attack(mark: Callable[[str], bytes], stolen: bytes) -> bool:
        return any(mark(guess) == stolen for guess in guesses())

    wrong_key = BlindIndex([OLD], "users.email").mark
    assert not attack(weak, stolen)
    assert not attack(wrong_key, stolen)
    assert attack(weak, weak("person77@example.com"))


def test_attack_people_are_followed_from_one_table_to_another_by_their_marks() -> None:
    def attack(one: Callable[[str], bytes], two: Callable[[str], bytes]) -> bool:
        return one("ann@example.com") == two("ann@example.com")

    assert not attack(BlindIndex([NEW], "users.email").mark, BlindIndex([NEW], "patients.email").mark)
    assert attack(BlindIndex([NEW], "email").mark, BlindIndex([NEW], "email").mark)  # weak: one name for both


# Data keys


@pytest.fixture
async def db(tmp_path: Path) -> AsyncGenerator[Database]:
    async with Database(f"sqlite:///{tmp_path}/a.db") as db:
        yield db


async def opened(db: Database, kms: object, keep_s: float = 300.0) -> DataKeys:
    keys = DataKeys(db, kms, keep_s=keep_s)  # type: ignore[arg-type]
    await keys.open()
    return keys


async def test_attack_the_database_alone_is_stolen(db: Database) -> None:
    """With every table of it nothing opens. The weak variant keeps its keys in the clear beside the data."""

    class Plain(StandInKms):
        async def wrap(self, key: bytes, *, context: str) -> bytes:
            return key

        async def unwrap(self, wrapped: bytes, *, context: str) -> bytes:
            return wrapped

    async def attack(kms: StandInKms, scope: str) -> bool:
        sealed = (await (await opened(db, kms)).ring(scope)).seal(b"secret", context=MINE)
        held = await db.all(bytes, "SELECT wrapped FROM _archstone_data_keys WHERE scope = :scope", scope=scope)
        tries = [part[at : at + 32] for part in held for at in range(len(part) - 31)]
        return any(came_through(lambda key=key: SealRing([key]).open(sealed, context=MINE) != b"") for key in tries)

    assert not await attack(StandInKms(), "a")
    assert await attack(Plain(), "b")


async def test_attack_the_key_of_one_person_is_put_in_place_of_anothers(db: Database) -> None:
    """So that what is sealed for a victim from now on opens for the attacker, whose key is known to him."""

    class Unnamed(StandInKms):
        """Weak: wraps a key for nobody in particular."""

        async def wrap(self, key: bytes, *, context: str) -> bytes:
            return await StandInKms.wrap(self, key, context="")

        async def unwrap(self, wrapped: bytes, *, context: str) -> bytes:
            return await StandInKms.unwrap(self, wrapped, context="")

    async def attack(kms: StandInKms, kind: str) -> bool:
        keys = await opened(db, kms)
        mine = await keys.ring(f"{kind}:mallory")
        await keys.ring(f"{kind}:ann")
        await db.execute(
            "UPDATE _archstone_data_keys SET wrapped = (SELECT wrapped FROM _archstone_data_keys WHERE scope = :mine)"
            " WHERE scope = :hers",
            mine=f"{kind}:mallory", hers=f"{kind}:ann",
        )  # fmt: skip
        try:
            hers = await (await opened(db, kms)).ring(f"{kind}:ann")
        except BrokenSealError:
            return False
        return mine.open(hers.seal(b"secret", context=MINE), context=MINE) == b"secret"

    assert not await attack(StandInKms(), "a")
    assert await attack(Unnamed(), "b")


async def test_attack_a_denied_program_goes_on_with_keys_that_it_remembers(db: Database) -> None:
    """Access is withdrawn at the key service: within `keep_s` nothing opens. The weak variant remembers for ever."""

    async def attack(keep_s: float, scope: str) -> bool:
        kms = StandInKms()
        keys = await opened(db, kms, keep_s)
        await keys.ring(scope)
        kms.grant("app")
        await asyncio.sleep(301)
        try:
            await keys.ring(scope)
        except KeyServiceError:
            return False
        return True

    assert not await attack(300.0, "a")
    assert await attack(1e9, "b")


async def test_attack_a_destroyed_key_is_used_from_memory(db: Database) -> None:
    """Erased here, still open there: no longer than `keep_s`, and not at all in the process that destroyed it."""

    async def attack(keep_s: float, scope: str) -> bool:
        kms = StandInKms()
        here, there = await opened(db, kms, keep_s), await opened(db, kms, keep_s)
        sealed = (await here.ring(scope)).seal(b"secret", context=MINE)
        await there.ring(scope)
        await here.destroy(scope)
        with pytest.raises(KeysDestroyedError):
            await here.ring(scope)
        await asyncio.sleep(301)
        try:
            return (await there.ring(scope)).open(sealed, context=MINE) == b"secret"
        except KeysDestroyedError:
            return False

    assert not await attack(300.0, "person:ann")
    assert await attack(1e9, "person:bob")  # weak: remembers for ever


async def test_attack_a_destroyed_person_gets_a_new_key_by_asking_again(db: Database) -> None:
    """The tombstone: a worker that is late must not begin to keep data of somebody who was erased."""

    async def attack(scope: str, forget: str = "") -> bool:
        keys = await opened(db, StandInKms())
        await keys.ring(scope)
        await keys.destroy(scope)
        if forget:
            await db.execute(forget)
        try:
            return bool(await keys.ring(scope))
        except KeysDestroyedError:
            return False

    assert not await attack("person:ann")
    assert await attack("person:bob", "DELETE FROM _archstone_data_keys")  # weak: erases by deleting the row


async def test_attack_a_rotation_makes_values_that_others_cannot_open(db: Database) -> None:
    """The race of rotations: a process that has not asked again meets a value under the new key."""

    async def attack(settle: bool, scope: str) -> bool:
        kms = StandInKms()
        one, two = await opened(db, kms), await opened(db, kms)
        await one.ring(scope)
        await asyncio.sleep(300)
        await two.ring(scope)
        await one.rotate(scope)
        if not settle:
            await db.execute("UPDATE _archstone_data_keys SET made_at = 0 WHERE scope = :scope", scope=scope)
        try:
            return not (await two.ring(scope)).open((await one.ring(scope)).seal(b"a", context=MINE), context=MINE)
        except UnknownSealKeyError:
            return True

    assert not await attack(True, "a")
    assert await attack(False, "b")  # weak: seals with a new key at once


async def test_attack_an_old_key_is_retired_while_somebody_seals_with_it(db: Database) -> None:
    """Whoever ends it early loses what another process seals meanwhile."""
    kms = StandInKms()
    one, two = await opened(db, kms), await opened(db, kms)
    old = (await one.ring("a")).sealing
    await asyncio.sleep(300)
    await one.rotate("a")
    await asyncio.sleep(299)
    held = await two.ring("a")  # from just before the new key seals, and held for `keep_s`
    assert held.sealing == old
    await asyncio.sleep(299)
    assert not await one.retire("a", old)
    sealed = (await two.ring("a")).seal(b"a", context=MINE)
    assert (await one.ring("a")).open(sealed, context=MINE) == b"a"
    await asyncio.sleep(3)
    assert await one.retire("a", old)
    # the weak variant: ended at once, by hand
    assert old not in (await one.ring("a")).ids
    with pytest.raises(UnknownSealKeyError):
        (await one.ring("a")).open(held.seal(b"a", context=MINE), context=MINE)


async def test_attack_a_new_root_key_is_slipped_in_by_removing_the_file(db: Database, tmp_path: Path) -> None:
    """Where keys lie already none is made anew: what is sealed from now on would open for whoever placed the file."""

    class Helpful(DataKeys):
        """Weak: begins anew where the old keys do not open, so that the program starts at any rate."""

        async def ring(self, scope: str) -> SealRing:
            try:
                return await super().ring(scope)
            except UnknownSealKeyError:
                await self.db.execute("DELETE FROM _archstone_data_keys WHERE scope = :scope", scope=scope)
                return await super().ring(scope)

    async def attack(kind: type[DataKeys], scope: str) -> bool:
        path = tmp_path / scope
        keys = kind(db, RootKeys.from_file(path))
        await keys.open()
        await keys.ring(scope)
        path.unlink()
        placed = RootKeys.from_file(path)
        try:
            sealed = (await kind(db, placed).ring(scope)).seal(b"secret", context=MINE)
        except UnknownSealKeyError:
            return False
        return (await DataKeys(db, placed).ring(scope)).open(sealed, context=MINE) == b"secret"

    assert not await attack(DataKeys, "a")
    assert await attack(Helpful, "b")


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604])
def test_attack_the_key_file_is_read_by_a_neighbour(tmp_path: Path, mode: int) -> None:
    """A file that lets others in is not used at all: what it seals would be theirs. A weak reader looks at no mode."""
    path = tmp_path / "keys"
    RootKeys.from_file(path)
    path.chmod(mode)
    assert not came_through(lambda: bool(RootKeys.from_file(path)))
    assert came_through(lambda: bool(RootKeys(map_of(path))))


def map_of(path: Path) -> list[bytes]:
    return [base64.b64decode(text) for text in json.loads(path.read_text())["keys"]]


# Keys from passwords


def test_attack_the_work_for_a_password_is_lowered_in_what_is_stored() -> None:
    """The text beside the value says how hard guessing is. A weak reader believes it."""

    def weak(text: str) -> int:
        return int(text.split("$")[3].split(",", maxsplit=1)[0][2:])

    lowered = "$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA"
    assert not came_through(lambda: bool(parse(lowered)))
    assert came_through(lambda: weak(lowered) == 8)


def test_attack_the_work_for_a_password_is_raised_until_the_process_dies() -> None:
    def weak(text: str) -> int:
        return int(text.split("$")[3].split(",", maxsplit=1)[0][2:])

    for raised in (
        "$argon2id$v=19$m=4294967295,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA",
        "$argon2id$v=19$m=1048577,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA",
        "$argon2id$v=19$m=65536,t=999999999999,p=1$AAAAAAAAAAAAAAAAAAAAAA",
        "$scrypt$ln=40,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA",
    ):
        assert not came_through(lambda raised=raised: bool(parse(raised)))
    assert came_through(lambda: weak("$argon2id$v=19$m=4294967295,t=1,p=1$AA") > 2**30)


def test_attack_one_salt_for_all_lets_a_table_of_passwords_be_made() -> None:
    """The guide draws a salt and throws it away, so nothing opens after a restart; a fixed one would be this weak."""
    cheap = {"memory_kib": 19_456, "passes": 1, "lanes": 1}
    ours = {Argon2(**cheap).derive("hunter2") for _ in range(2)}
    fixed = {Argon2(**cheap, salt=bytes(16)).derive("hunter2") for _ in range(2)}
    assert (len(ours), len(fixed)) == (2, 1)
