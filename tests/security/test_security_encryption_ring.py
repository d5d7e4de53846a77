"""Sealing and opening: the round trip, the keys of a ring, where the bounds are, and the file of root keys."""

import base64
import copy
import os
import pickle
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archstone.security.encryption import (
    BrokenSealError,
    KeysDestroyedError,
    KeyServiceBusyError,
    KeyServiceDeniedError,
    KeyServiceError,
    RootKeyError,
    RootKeys,
    SealRing,
    TooLargeToSealError,
    UnknownSealKeyError,
    key_of,
    ring,
)

OLD, NEW = bytes(32), bytes(range(32))


@given(st.binary(max_size=300), st.text(max_size=50).filter(lambda text: text.isprintable()))
def test_what_was_sealed_opens_with_its_context(plaintext: bytes, context: str) -> None:
    keys = SealRing([NEW])
    sealed = keys.seal(plaintext, context=context)
    assert keys.open(sealed, context=context) == plaintext
    assert len(sealed) == len(plaintext) + ring.OVERHEAD_BYTES


def test_another_ring_with_the_same_key_opens() -> None:
    assert SealRing([NEW]).open(SealRing([NEW]).seal(b"a", context="x"), context="x") == b"a"


def test_the_newest_key_seals_and_all_open() -> None:
    before, both = SealRing([OLD]), SealRing([NEW, OLD])
    old, new = before.seal(b"a", context="x"), both.seal(b"b", context="x")
    assert [both.open(old, context="x"), both.open(new, context="x")] == [b"a", b"b"]
    assert [key_of(old), key_of(new)] == [before.sealing, both.sealing]
    assert [both.stale(old), both.stale(new)] == [True, False]
    assert both.ids == (key_of(new), key_of(old))


def test_an_older_key_may_be_the_one_that_seals() -> None:
    both = SealRing([NEW, OLD], sealing=1)
    assert key_of(both.seal(b"a", context="x")) == SealRing([OLD]).sealing


def test_a_value_under_an_unknown_key_names_it() -> None:
    sealed = SealRing([OLD]).seal(b"a", context="x")
    with pytest.raises(UnknownSealKeyError, match=f"its key {key_of(sealed)} is not in the ring"):
        SealRing([NEW]).open(sealed, context="x")


@pytest.mark.parametrize("keys", [[], [b""], [bytes(31)], [bytes(33)], [NEW, bytes(16)]])
def test_a_key_has_32_bytes_and_there_is_one(keys: list[bytes]) -> None:
    with pytest.raises(ValueError, match="32 bytes each"):
        SealRing(keys)


@pytest.mark.parametrize("sealing", [-1, 2])
def test_the_key_that_seals_is_one_of_them(sealing: int) -> None:
    with pytest.raises(ValueError, match="must be in"):
        SealRing([NEW, OLD], sealing=sealing)


def test_a_value_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring, "PLAINTEXT_BYTES", 10)
    keys = SealRing([NEW])
    assert keys.open(keys.seal(bytes(10), context="x"), context="x") == bytes(10)
    with pytest.raises(TooLargeToSealError, match="11 bytes to seal, limit 10"):
        keys.seal(bytes(11), context="x")


def test_no_two_seals_are_the_same() -> None:
    keys = SealRing([NEW])
    assert len({keys.seal(b"a", context="x") for _ in range(1_000)}) == 1_000


def test_a_derived_key_ends_after_its_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring, "MESSAGES_OF_A_KEY", 3)
    keys = SealRing([NEW])
    sealed = [keys.seal(b"a", context="x") for _ in range(7)]
    salts = [value[9:25] for value in sealed]
    assert [salts.count(salt) for salt in dict.fromkeys(salts)] == [3, 3, 1]
    assert {keys.open(value, context="x") for value in sealed} == {b"a"}


def test_headers_that_somebody_makes_up_leave_nothing_behind() -> None:
    keys = SealRing([NEW])
    sealed = keys.seal(b"a", context="x")
    for number in range(50):
        with pytest.raises(BrokenSealError):
            keys.open(sealed[:9] + number.to_bytes(16, "big") + sealed[25:], context="x")
    assert len(keys._derived) == 0


def test_derived_keys_in_memory_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring, "_DERIVED_LIMIT", 4)
    keys = SealRing([NEW])
    for _ in range(20):
        assert keys.open(SealRing([NEW]).seal(b"a", context="x"), context="x") == b"a"
    assert len(keys._derived) <= 4


def test_threads_share_a_ring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring, "MESSAGES_OF_A_KEY", 5)  # a new derived key all the time
    keys, wrong = SealRing([NEW]), []

    def work() -> None:
        for number in range(300):
            text = str(number).encode()
            if keys.open(keys.seal(text, context="x"), context="x") != text:
                wrong.append(number)

    threads = [threading.Thread(target=work) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert wrong == []


def test_keys_for_another_purpose_are_others_for_each_key_and_purpose() -> None:
    both = SealRing([NEW, OLD], sealing=1)
    one, two = both.derive("index"), both.derive("other")
    assert len({*one, *two, NEW, OLD}) == 6
    assert one == [*SealRing([OLD]).derive("index"), *SealRing([NEW]).derive("index")]
    assert {len(key) for key in one} == {32}


def test_neither_ring_nor_errors_tell_a_key() -> None:
    keys = SealRing([b"0123456789abcdef0123456789abcdef"])
    sealed = keys.seal(b"secret text", context="x")
    with pytest.raises(BrokenSealError) as refused:
        keys.open(sealed, context="y")
    told = repr(keys) + repr(refused.value) + str(refused.value) + repr(refused.value.__cause__)
    assert "0123456789abcdef0123456789abcdef" not in told
    assert "secret" not in told


@pytest.mark.parametrize(
    "error",
    [
        BrokenSealError("t.c/1", "changed"),
        UnknownSealKeyError("t.c/1", "00ff"),
        TooLargeToSealError(2, 1),
        RootKeyError("file", "gone"),
        KeyServiceError("kms", "down"),
        KeyServiceDeniedError("kms", "no"),
        KeyServiceBusyError("kms", 1.5),
        KeysDestroyedError("person:1"),
    ],
)
def test_errors_travel(error: Exception) -> None:
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (type(other), str(other), vars(other)) == (type(error), str(error), vars(error))


# Root keys


async def test_the_first_start_makes_the_file_and_the_next_ones_read_it(tmp_path: Path) -> None:
    path = tmp_path / "encryption.json"
    first = RootKeys.from_file(path)
    wrapped = await first.wrap(NEW, context="x")
    assert await RootKeys.from_file(path).unwrap(wrapped, context="x") == NEW
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [found.name for found in tmp_path.iterdir()] == ["encryption.json"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o610])
def test_a_file_that_lets_others_in_is_refused(tmp_path: Path, mode: int) -> None:
    RootKeys.from_file(tmp_path / "keys")
    (tmp_path / "keys").chmod(mode)
    with pytest.raises(RootKeyError, match=f"mode 0{mode:o} lets others in"):
        RootKeys.from_file(tmp_path / "keys")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"keys": []}', '{"keys": ["AAAA"]}', '{"keys": [1]}', "\udcff"])
def test_a_broken_file_is_an_error_and_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    path.chmod(0o600)
    with pytest.raises(RootKeyError, match="without them nothing that was sealed can be opened"):
        RootKeys.from_file(path)
    assert path.read_bytes() == text.encode("utf-8", "surrogateescape")


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    RootKeys.from_file(tmp_path / "real")
    (tmp_path / "keys").symlink_to(tmp_path / "real")
    with pytest.raises(RootKeyError):
        RootKeys.from_file(tmp_path / "keys")


def test_processes_that_begin_together_agree(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from archstone.security.encryption import RootKeys;"
        "print(RootKeys.from_file(Path(sys.argv[1])).ring.sealing)"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "keys")], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert len({process.communicate(timeout=60)[0] for process in started}) == 1


async def test_a_rotated_file_wraps_with_the_new_key_and_unwraps_with_both(tmp_path: Path) -> None:
    before = RootKeys.from_file(tmp_path / "keys")
    wrapped = await before.wrap(NEW, context="x")
    after = RootKeys.rotate_file(tmp_path / "keys")
    assert await after.unwrap(wrapped, context="x") == NEW
    assert after.stale(wrapped)
    assert not after.stale(await after.wrap(NEW, context="x"))
    assert RootKeys.from_file(tmp_path / "keys").ring.ids == after.ring.ids
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o600


async def test_keys_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEYS", ",".join(base64.b64encode(key).decode() for key in (NEW, OLD)))
    keys = RootKeys.from_environment("MY_KEYS")
    assert keys.ring.ids == SealRing([NEW, OLD]).ids


@pytest.mark.parametrize("text", [None, "", "no base64!", "QUJD", ","])
def test_an_environment_without_keys_is_an_error_that_tells_none(
    monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    monkeypatch.delenv("MY_KEYS", raising=False)
    if text is not None:
        monkeypatch.setenv("MY_KEYS", text)
    with pytest.raises(RootKeyError) as refused:
        RootKeys.from_environment("MY_KEYS")
    assert "MY_KEYS" in str(refused.value)
    assert not text or text == "," or text not in str(refused.value)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_does_not_repeat_what_its_parent_seals() -> None:
    program = (
        "import os, sys; from archstone.security.encryption import SealRing;"
        "ring = SealRing([bytes(32)]); ring.seal(b'', context='x'); child = os.fork() == 0;"
        "sys.stdout.write(ring.seal(b'', context='x').hex() + '\\n'); sys.stdout.flush();"
        "os._exit(0) if child else os.wait()"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    one, two = (bytes.fromhex(line) for line in said.stdout.split())
    assert one[:25] == two[:25]  # the same derived key, since it was made before the fork
    assert one[25:37] != two[25:37]  # so the nonces must differ
