"""Sealing a value of 100 bytes beside Fernet, which the guide uses, with raw AES-GCM as the floor.

Ours binds a value to its place, names its key, derives a key from it and counts messages; Fernet (AES-128-CBC with
HMAC-SHA-256) binds nothing and writes the time. The floor is `AESGCM` with a random nonce and no header.
"""

import os
from collections.abc import Callable

from benchmarks.harness import Bench, Row, nanoseconds_per_call

PLAIN = os.urandom(100)

bench = Bench(
    "encryption",
    shows="what it costs to seal and to open 100 bytes, alone and as a field of a row",
    hides="the first value of a ring and the first one read of each of its derived keys (one derivation more),"
    " asking a key service, large values, threads",
)


def each(call: Callable[[], object], quick: bool) -> float:
    def many(count: int) -> None:
        for _ in range(count):
            call()

    return nanoseconds_per_call(many, quick=quick)


@bench.contender("archstone", "cryptography")
def archstone_seal(quick: bool) -> float:
    from archstone.security.encryption import SealRing

    ring = SealRing.generate()
    return each(lambda: ring.seal(PLAIN, context="customers.phone/42"), quick)


@bench.contender("archstone", "cryptography")
def archstone_open(quick: bool) -> float:
    from archstone.security.encryption import SealRing

    ring = SealRing.generate()
    sealed = ring.seal(PLAIN, context="customers.phone/42")
    return each(lambda: ring.open(sealed, context="customers.phone/42"), quick)


@bench.contender("cryptography")
def fernet_encrypt(quick: bool) -> float:
    from cryptography.fernet import Fernet

    fernet = Fernet(Fernet.generate_key())
    return each(lambda: fernet.encrypt(PLAIN), quick)


@bench.contender("cryptography")
def fernet_decrypt(quick: bool) -> float:
    from cryptography.fernet import Fernet

    fernet = Fernet(Fernet.generate_key())
    token = fernet.encrypt(PLAIN)
    return each(lambda: fernet.decrypt(token), quick)


@bench.contender("cryptography")
def floor_encrypt(quick: bool) -> float:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    cipher = AESGCM(os.urandom(32))

    def encrypt() -> bytes:
        nonce = os.urandom(12)
        return nonce + cipher.encrypt(nonce, PLAIN, None)

    return each(encrypt, quick)


@bench.contender("cryptography")
def floor_decrypt(quick: bool) -> float:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    cipher, nonce = AESGCM(os.urandom(32)), os.urandom(12)
    sealed = nonce + cipher.encrypt(nonce, PLAIN, None)
    return each(lambda: cipher.decrypt(sealed[:12], sealed[12:], None), quick)


@bench.contender("archstone", "cryptography")
def archstone_field_seal(quick: bool) -> float:
    from archstone.security.encryption import SealedColumn, SealRing

    ring, column, text = SealRing.generate(), SealedColumn(str, "customers", "address"), "x" * 98
    return each(lambda: column.seal(text, row="42", ring=ring), quick)


@bench.contender("archstone", "cryptography")
def archstone_field_open(quick: bool) -> float:
    from archstone.security.encryption import SealedColumn, SealRing

    ring, column = SealRing.generate(), SealedColumn(str, "customers", "address")
    sealed = column.seal("x" * 98, row="42", ring=ring)
    return each(lambda: column.open(sealed, row="42", ring=ring), quick)


@bench.contender("cryptography")
def fernet_field_encrypt(quick: bool) -> float:
    """The guide's `EncryptedField.encrypt_value`."""
    from cryptography.fernet import Fernet

    fernet, text = Fernet(Fernet.generate_key()), "x" * 98
    return each(lambda: fernet.encrypt(text.encode()).decode(), quick)


@bench.contender("cryptography")
def fernet_field_decrypt(quick: bool) -> float:
    """The guide's `EncryptedField.decrypt_value`."""
    from cryptography.fernet import Fernet

    fernet = Fernet(Fernet.generate_key())
    stored = fernet.encrypt(b"x" * 98).decode()
    return each(lambda: fernet.decrypt(stored.encode()).decode(), quick)


bench.row(
    Row("seal 100 bytes", "ns/call", goal=4.0),
    ours="archstone_seal",
    peers=["fernet_encrypt"],
    beside=["floor_encrypt"],
)
bench.row(
    Row("open 100 bytes", "ns/call", goal=4.0),
    ours="archstone_open",
    peers=["fernet_decrypt"],
    beside=["floor_decrypt"],
)
bench.row(Row("seal a field", "ns/call", goal=4.0), ours="archstone_field_seal", peers=["fernet_field_encrypt"])
bench.row(Row("open a field", "ns/call", goal=4.0), ours="archstone_field_open", peers=["fernet_field_decrypt"])

if __name__ == "__main__":
    bench.main()
