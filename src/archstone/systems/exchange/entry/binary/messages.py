"""The binary protocol byte by byte: every message has 64 bytes, little-endian. docs/exchange/binary.md has the tables.

A client begins with a logon, which is followed by its credential. From then on it sends requests: the bytes of a
`COMMAND`, whose `id` is the number of an order and whose `sequence` is the number of the request. The server sends the
bytes of a `REPORT`.
"""

from enum import IntEnum, IntFlag
from typing import Final, NamedTuple

import numpy as np

from archstone.systems.exchange.entry.reports import REPORT, Rows
from archstone.systems.exchange.matching import COMMAND, Commands, Kind
from archstone.systems.exchange.venue.port import MAX_NUMBER

__all__ = [
    "LOGON",
    "SIZE",
    "VERSION",
    "Choice",
    "Fault",
    "Logon",
    "Say",
    "faulty",
    "logon",
    "read_logon",
    "said",
]

SIZE: Final = 64
"""Bytes of every message; a logon has its credential behind it."""
VERSION: Final = 1
LOGON: Final = np.dtype(
    [
        ("kind", "u1"),
        ("version", "u1"),
        ("choices", "<u2"),
        ("credential_bytes", "<u2"),
        ("spare", "<u2"),
        ("account", "<u4"),
        ("heartbeat_ms", "<u4"),
        ("sequence", "<u8"),
        ("part", "<u4"),
        ("spare_too", "<u4"),
        ("request", "<u8"),
        ("rest", "u1", 24),
    ]
)
"""What a client begins with."""


class Say(IntEnum):
    """What is said beside requests and reports, in `kind`."""

    HEARTBEAT = 128
    """Both ways."""
    LOGOUT = 129
    """By the client: what came before is done, then the server says BYE."""
    LOGON = 130
    """By the client, first."""
    WELCOME = 131
    """By the server: the account (in `order`), and what it may do. Reports from before follow."""
    RESUMED = 132
    """By the server: the account has been told all that had happened; what it has heard nothing of was never done."""
    REFUSED = 133
    """By the server: a request was not taken, and nothing of it has happened."""
    BYE = 134
    """By the server: it closes the connection."""


class Choice(IntFlag):
    """What a client wants."""

    NONE = 0
    CANCEL_ON_DISCONNECT = 1
    """Cancel all orders of the account when the connection ends, however it ends."""


class Fault(IntEnum):
    """Why a request was not taken (REFUSED), or why the server closes (BYE)."""

    NONE = 0
    MALFORMED = 1
    """Bytes that are no message, or fields that must be 0 and are not."""
    VERSION = 2
    DENIED = 3
    """The credential stands for no account, or for another one than was named; or it was revoked, or has run out."""
    FORGOTTEN = 4
    """What came after the position is not kept any more."""
    TAKEN_OVER = 5
    """The account has logged on elsewhere."""
    NUMBER = 6
    """The number of a request is not one above that of the one before."""
    SILENT = 7
    """Nothing came for three heartbeats."""
    SLOW = 8
    """More waits to be taken than is kept for one connection."""
    TOO_FAST = 9
    """More requests in a second than are taken."""
    AWAY = 10
    """The exchange takes none now; `quantity` says in how many milliseconds to try again."""
    UNKNOWN = 11
    """Whether requests were done is not known here. Log on again: what is not reported by RESUMED was not."""
    CLOSING = 12
    """The server stops."""
    FULL = 13
    """There are as many connections as may be."""
    LEFT = 14
    """The client logged out."""


class Logon(NamedTuple):
    """What a logon says."""

    account: int
    """0: the one that the credential stands for."""
    choices: Choice
    heartbeat_ms: int
    sequence: int
    """Position of the last report that it has seen, with `part`."""
    part: int
    request: int
    """Number of the last request that it has sent, on this connection or one before; the next is one above."""


def logon(said: Logon, credential: bytes) -> bytes:
    """Return a logon as bytes."""
    row = np.zeros((), LOGON)
    row["kind"], row["version"], row["credential_bytes"] = Say.LOGON, VERSION, len(credential)
    for name in Logon._fields:
        row[name] = getattr(said, name)
    return row.tobytes() + credential


def read_logon(data: bytes) -> tuple[Logon | Fault, int]:
    """Return what the first 64 bytes of a connection say, and how many bytes of credential follow."""
    row = np.frombuffer(data, LOGON, 1)[0]
    if row["kind"] != Say.LOGON or row["spare"] or row["spare_too"] or row["rest"].any() or row["choices"] > 1:
        return Fault.MALFORMED, 0
    if row["version"] != VERSION:
        return Fault.VERSION, 0
    numbers = [int(row[name]) for name in Logon._fields]
    return Logon(numbers[0], Choice(numbers[1]), *numbers[2:]), int(row["credential_bytes"])


def said(kind: int, **fields: int) -> Rows:
    """Return one message of the server, shape (1,); what is not given is 0."""
    row = np.zeros(1, REPORT)
    row["kind"] = kind
    for name, value in fields.items():
        row[name] = value
    return row


_UNUSED: Final = {
    Kind.CANCEL: ("side", "type", "tif", "flags", "stp", "price", "quantity", "display", "trigger"),
    Kind.REPLACE: ("side", "type", "tif", "flags", "stp", "display"),
    Kind.MASS_CANCEL: ("id", "type", "tif", "flags", "stp", "price", "quantity", "display", "trigger"),
}
"""Fields that must be 0, beside `spare`."""


def _bits_of(kind: Kind) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """Return all bits of the fields that must be 0 in a request of a kind, shape (8,)."""
    row = np.zeros(1, COMMAND)
    for name in ("spare", *_UNUSED.get(kind, ())):
        row[name] = ~row[name]
    return row.view("<u8")


_MUST_BE_0: Final = np.zeros((256, SIZE // 8), "<u8")
"""By kind. One look at all fields of all requests: a look at each field would cost more than all else about one."""
for _kind in (Kind.NEW, Kind.CANCEL, Kind.REPLACE, Kind.MASS_CANCEL):
    _MUST_BE_0[_kind] = _bits_of(_kind)


_FIRST, _LAST = int(Kind.NEW), int(Kind.MASS_CANCEL)
"""As plain numbers: numpy takes four times as long to compare with the member of an enum."""


def faulty(rows: Commands, account: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which requests are no requests, shape (n,): of another kind or account, or with what must be 0 and is not.

    What they ask for is not judged: that is the venue's, whose answer is a report.

    Args:
        rows: Contiguous.
        account: Whose they must be, where they say it.
    """
    kinds, accounts, ids = rows["kind"], rows["account"], rows["id"]
    wrong = (kinds < _FIRST) | (kinds > _LAST)
    wrong |= (rows.view("<u8").reshape(-1, SIZE // 8) & _MUST_BE_0[kinds]).any(axis=1)
    wrong |= (accounts != 0) & (accounts != account)
    return wrong | (ids > MAX_NUMBER) | ((ids == 0) & (kinds != _LAST))
