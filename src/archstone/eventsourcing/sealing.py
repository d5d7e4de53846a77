"""Personal fields of stored events, encrypted under a key per person that can be destroyed.

In the payload such a field is `{"$sealed": BASE64, "person": ID, "erased": PLACEHOLDER}`: AES-256-GCM with a nonce of
its own, bound to the stream, the number of the event and the field, so that no value can be moved elsewhere. It says by
itself whose key opens it and what stands in its place without one: neither depends on the classes of this release.

What this protects: after `erase`, nobody who has the database reads the value any more, nor does whoever has a copy of
the events alone. What it does not protect: whoever has the database before that has the keys as well, and so has a
backup made before. The value is gone for good when the last backup is gone that still holds the key.
"""

import base64
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, Protocol

import orjson

from archstone import world
from archstone.data import Event
from archstone.eventsourcing import tables
from archstone.eventsourcing.errors import ErasedPersonError, EventUnreadableError
from archstone.eventsourcing.personal import any_personal, personal_fields
from archstone.eventsourcing.unit import Reads, Unit

__all__ = ["Sealed", "all_known", "persons_of", "seal", "unseal"]

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_MARK: Final = "$sealed"
_PERSONS_AT_ONCE: Final = 64
"""Persons whose keys one statement asks for: few texts of statements, however many people."""

Sealed = tuple[str, int, bytes]
"""Stream, number in it, payload."""


class Cipher(Protocol):
    """AES-GCM of the library `cryptography`."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes, /) -> bytes: ...
    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes, /) -> bytes: ...


def persons_of(events: Sequence[Event]) -> set[str]:
    """Return the ids of the persons whose data `events` hold."""
    if not any_personal(events):
        return set()
    return {str(getattr(event, field.person)) for event in events for field in personal_fields(type(event))}


async def seal(unit: Unit, stream: str, events: Sequence[Event], *, first: int) -> dict[int, bytes]:
    """Return the payloads of those `events` that have personal fields, by their number in the stream.

    Args:
        unit: The transaction that stores them: a person who is new gets a key in it.
        stream: Where they will stand.
        events: Oldest first.
        first: The number of the first of them.

    Raises:
        ErasedPersonError: The person of a field was erased.
        ImportError: The library `cryptography` is not installed.
    """
    personal = [(number, event) for number, event in enumerate(events, first) if personal_fields(type(event))]
    ciphers = await _keys(unit, persons_of(events))
    return {number: _sealed(event, f"{stream}/{number}", ciphers) for number, event in personal}


async def unseal(reads: Reads, payloads: Sequence[Sealed]) -> tuple[list[bytes], set[str]]:
    """Return the payloads with their fields in the clear, or placeholders, and whose fields they are."""
    parsed: list[tuple[str, int, dict[str, Any]]] = [
        (stream, number, orjson.loads(payload)) for stream, number, payload in payloads
    ]
    persons = {value["person"] for _, _, fields in parsed for value in fields.values() if _is_sealed(value)}
    ciphers = {person: _cipher(key) for person, key in (await _known(reads, persons)).items()}
    return [orjson.dumps(_opened(fields, stream, number, ciphers)) for stream, number, fields in parsed], persons


async def all_known(reads: Reads, persons: Iterable[str]) -> bool:
    """Return whether none of `persons` was erased."""
    wanted = set(persons)
    return (await _known(reads, wanted)).keys() == wanted


def _sealed(event: Event, place: str, ciphers: dict[str, Cipher]) -> bytes:
    fields: dict[str, Any] = orjson.loads(event.encode())
    for name, person_field, erased in personal_fields(type(event)):
        if fields[name] is None:
            continue
        person = str(getattr(event, person_field))
        nonce = world.secret_bytes(_NONCE_BYTES)
        hidden = ciphers[person].encrypt(nonce, orjson.dumps(fields[name]), f"{place}/{name}".encode())
        fields[name] = {_MARK: base64.b64encode(nonce + hidden).decode(), "person": person, "erased": erased}
    return orjson.dumps(fields)


def _opened(fields: dict[str, Any], stream: str, number: int, ciphers: dict[str, Cipher]) -> dict[str, Any]:
    for name, value in fields.items():
        if not _is_sealed(value):
            continue
        cipher = ciphers.get(value["person"])
        if cipher is None:
            fields[name] = value["erased"]
            continue
        hidden = base64.b64decode(value[_MARK])
        place = f"{stream}/{number}/{name}".encode()
        try:
            fields[name] = orjson.loads(cipher.decrypt(hidden[:_NONCE_BYTES], hidden[_NONCE_BYTES:], place))
        except Exception as error:
            reason = "its seal does not open with the key of its person: it was changed or moved"
            raise EventUnreadableError(stream, number, f"field {name}", reason) from error
    return fields


def _is_sealed(value: Any) -> bool:
    return isinstance(value, dict) and _MARK in value


async def _keys(unit: Unit, persons: set[str]) -> dict[str, Cipher]:
    """Return a cipher for each of `persons`; one who is new gets a key.

    Raises:
        ErasedPersonError: One of them was erased.
    """
    known = await _known(unit, persons)
    new = sorted(persons - known.keys())
    for person in new:
        key = world.secret_bytes(_KEY_BYTES)
        if not await unit.execute(tables.INSERT_KEY, person=person, key=key, at=world.now_us()):
            raise ErasedPersonError(person)
        known[person] = key
    return {person: _cipher(key) for person, key in known.items()}


async def _known(reads: Reads, persons: set[str]) -> dict[str, bytes]:
    """Return the keys of those of `persons` who have one."""
    found: dict[str, bytes] = {}
    ordered = sorted(persons)
    for start in range(0, len(ordered), _PERSONS_AT_ONCE):
        part = ordered[start : start + _PERSONS_AT_ONCE]
        # Two texts: one person, as nearly always, or as many as fit, the last repeated to fill up.
        names = part if len(part) == 1 else part + part[-1:] * (_PERSONS_AT_ONCE - len(part))
        asked = {f"p{number}": name for number, name in enumerate(names)}
        found.update(await reads.all(tuple[str, bytes], _select(len(names)), **asked))
    return found


@lru_cache(maxsize=2)
def _select(count: int) -> str:
    return tables.KEYS_OF.format(persons=", ".join(f":p{number}" for number in range(count)))


def _cipher(key: bytes) -> Cipher:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - only for those who have such fields
    except ImportError as error:
        message = "personal fields need cryptography: pip install 'archstone[security]'"
        raise ImportError(message, name="cryptography") from error
    return AESGCM(key)
