"""An open loop of orders over the binary protocol: each goes out when it is due, whatever has come back so far.

An order's time begins when it was *due*, not when it was sent: what a stall holds up counts all of it (no coordinated
omission), and so does the lateness of this loop itself, which is told beside. Orders, cancels and replaces are those of
`traffic.plan`, at random instants. Plain sockets and one `select`, which wakes within some ten microseconds where an
event loop counts in milliseconds; the messages are made before the first one is due.
"""

import gc
import select
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from random import Random

import numpy as np

from archstone.systems.exchange.entry.binary.messages import SIZE, Choice, Logon, Say, logon
from archstone.systems.exchange.entry.reports import NOW, REPORT, Flags
from archstone.systems.exchange.matching import Command, Commands, Kind, Reason, Told, rows_of
from archstone.systems.exchange.traffic import Mix, plan

HEARTBEAT_MS = 60_000
GIVE_UP_S = 5.0
_REPORT = struct.Struct("<BxBB56xH2x")
"""Of a report what is looked at: kind, reason, flags, tag."""
_TAG = 0xFFFF


class ClosedError(Exception):
    """The server has said BYE, or hung up."""


@dataclass(slots=True)
class Played:
    """What an open loop saw."""

    offered: int
    took_s: list[float]
    """From when a request was due to its first report, in order of size."""
    late_s: list[float]
    """From when a request was due to when it was sent, in order of size."""
    lasted_s: float
    """From when the first was due to the last answer."""
    refused: Counter[str] = field(default_factory=Counter)
    """By the server: nothing of these reached the exchange. Not in `took_s`."""
    rejected: Counter[str] = field(default_factory=Counter)
    """By the venue, kept and answered as the others are: mostly cancels of what had traded meanwhile."""
    unanswered: int = 0

    @property
    def per_s(self) -> float:
        """Answers a second."""
        return len(self.took_s) / self.lasted_s if self.lasted_s else 0.0

    def ms(self, ratio: float) -> float:
        """Return a quantile. Infinite: nothing was answered."""
        return _quantile(self.took_s, ratio) * 1e3 if self.took_s else float("inf")

    def is_kept(self, *, p99_ms: float) -> bool:
        """Return whether the rate was kept: all answered, and in time, which what piles up would not be."""
        return not self.refused and not self.unanswered and self.ms(0.99) < p99_ms

    def details(self) -> dict[str, object]:
        """Return what belongs beside a figure."""
        told = {f"p{name}_ms": round(self.ms(ratio), 3) for name, ratio in (("50", 0.5), ("99", 0.99), ("999", 0.999))}
        late_ms = round(_quantile(self.late_s, 0.99) * 1e3, 3) if self.late_s else None
        return {
            **told, "per_s": round(self.per_s), "orders": self.offered, "refused": self.refused.total(),
            "unanswered": self.unanswered, "rejected": _words(self.rejected), "sent_late_p99_ms": late_ms,
        }  # fmt: skip


def _quantile(ordered: Sequence[float], ratio: float) -> float:
    return ordered[int((len(ordered) - 1) * ratio)]


def _words(counted: Counter[str]) -> str:
    return ",".join(f"{name}:{count}" for name, count in counted.most_common()) or "0"


class Link:
    """One connection, which has logged on."""

    def __init__(self, port: int, credential: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.request = 0
        """Number of the last request that was sent."""
        self.waiting: dict[int, int] = {}
        """By tag: which of all arrivals it was."""
        self.unsent = bytearray()
        self._rest = b""
        wanted = Logon(0, Choice.NONE, HEARTBEAT_MS, *NOW, 0)
        self.socket.sendall(logon(wanted, credential.encode()))
        self.account, self.highest = self._welcomed()

    def _welcomed(self) -> tuple[int, int]:
        """Return the account, and the highest number of an order that it has used."""
        head = self._exactly(2 * SIZE)  # WELCOME and RESUMED: nothing from before was asked for
        welcome, resumed = np.frombuffer(head, REPORT)
        if (welcome["kind"], resumed["kind"]) != (Say.WELCOME, Say.RESUMED):
            raise ClosedError(f"instead of WELCOME and RESUMED came {welcome} and {resumed}")
        return int(welcome["order"]), int(welcome["left"])

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise ClosedError("the server hung up")
            data += part
        return data

    def sweep(self, book: int) -> None:
        """Cancel what the account has in a book, and wait for the end of it."""
        row = rows_of([Command(Kind.MASS_CANCEL)])
        self.request += 1
        row["book"], row["sequence"] = book, self.request
        self.socket.sendall(row.tobytes())
        while (report := np.frombuffer(self._exactly(SIZE), REPORT)[0])["kind"] != Told.SWEPT:
            if report["kind"] == Told.REJECTED or report["kind"] >= Say.REFUSED:
                raise ClosedError(f"a mass cancel was answered by {report}")

    def write(self) -> None:
        """Send what waits, as far as it is taken."""
        try:
            sent = self.socket.send(self.unsent)
        except BlockingIOError:
            return
        del self.unsent[:sent]

    def read(self) -> Iterator[tuple[int, int, int, int]]:
        """Give kind, reason, flags and tag of what has come."""
        data = self.socket.recv(1 << 18)
        if not data:
            raise ClosedError("the server hung up")
        data = self._rest + data
        whole = len(data) // SIZE * SIZE
        self._rest = data[whole:]
        return _REPORT.iter_unpack(memoryview(data)[:whole])

    def close(self) -> None:
        self.socket.close()


@contextmanager
def linked(port: int, credentials: Sequence[str]) -> Iterator[list[Link]]:
    """Log on with each credential, and sweep what an earlier loop has left."""
    with ExitStack() as life:
        links: list[Link] = []
        for each in credentials:
            link = Link(port, each)
            life.callback(link.close)
            link.sweep(book=1)
            links.append(link)
        yield links


@dataclass(slots=True)
class Planned:
    """What is sent, by arrival."""

    due_s: list[float]
    by: list[int]
    """Which link."""
    messages: memoryview


def planned(links: Sequence[Link], *, per_s: float, for_s: float, price: int, mix: Mix, seed: int = 1) -> Planned:
    """Make what the accounts of the links send: Poisson arrivals, the same for the same seed."""
    by_account = {link.account: number for number, link in enumerate(links)}
    sent = [
        *plan(mix, book=1, price=price, accounts=[*by_account], rate_per_s=per_s, duration_s=for_s, chance=Random(seed))
    ]
    rows = rows_of(each.command for each in sent)
    rows["book"] = 1
    by = [by_account[account] for account in rows["account"].tolist()]
    _number(rows, links, np.array(by))
    return Planned([each.at_s for each in sent], by, memoryview(rows.tobytes()))


def _number(rows: Commands, links: Sequence[Link], by: np.ndarray) -> None:
    """Give requests their numbers, and have those of orders follow the ones that an account has used."""
    rows["id"] &= np.uint64(0xFFFF_FFFF)
    for number, link in enumerate(links):
        mine = by == number
        rows["id"][mine] += np.uint64(link.highest)
        rows["sequence"][mine] = link.request + 1 + np.arange(mine.sum(), dtype=np.uint64)


class _Loop:
    """One run."""

    def __init__(self, links: Sequence[Link], what: Planned) -> None:
        self.links, self.what = links, what
        self.played = Played(len(what.due_s), [], [], 0.0)
        self.sockets = {link.socket: link for link in links}
        self.left = len(what.due_s)
        self.began_s = 0.0

    def run(self) -> Played:
        for link in self.links:
            link.socket.setblocking(False)
        at, due, clock = 0, self.what.due_s, time.perf_counter
        self.began_s = clock() + 0.01
        while self.left and self.sockets:
            now_s = clock() - self.began_s
            if at < len(due) and due[at] <= now_s:
                at = self._send(at, now_s)
            if at == len(due) and now_s > due[-1] + GIVE_UP_S:
                break
            wait_s = due[at] - (clock() - self.began_s) if at < len(due) else GIVE_UP_S / 10
            self._listen(max(0.0, wait_s))
        played = self.played
        played.unanswered = played.offered - len(played.took_s) - played.refused.total()
        played.took_s.sort()
        played.late_s.sort()
        return played

    def _send(self, at: int, now_s: float) -> int:
        """Send all that is due; return which one is next."""
        due, by, links, messages = self.what.due_s, self.what.by, self.links, self.what.messages
        filled: set[int] = set()
        while at < len(due) and due[at] <= now_s:
            number = by[at]
            link = links[number]
            link.request += 1
            link.waiting[link.request & _TAG] = at
            link.unsent += messages[SIZE * at : SIZE * at + SIZE]
            filled.add(number)
            self.played.late_s.append(now_s - due[at])
            at += 1
        for number in filled:
            if links[number].socket in self.sockets:
                self._write(links[number])
        return at

    def _write(self, link: Link) -> None:
        try:
            link.write()
        except OSError:
            del self.sockets[link.socket]

    def _listen(self, wait_s: float) -> None:
        full = [link.socket for link in self.sockets.values() if link.unsent]
        readable, writable, _ = select.select([*self.sockets], full, [], wait_s)
        for each in writable:
            self._write(self.sockets[each])
        for each in readable:
            link = self.sockets.get(each)
            if link is None:
                continue
            try:
                self._hear(link)
            except (ClosedError, OSError):
                del self.sockets[each]

    def _hear(self, link: Link) -> None:
        reports = link.read()
        now_s = time.perf_counter() - self.began_s
        waiting, due, played = link.waiting, self.what.due_s, self.played
        for kind, reason, flags, tag in reports:
            if kind == Say.REFUSED:
                if waiting.pop(tag, None) is not None:
                    played.refused[str(reason)] += 1
                    self.left -= 1
            elif kind < Say.HEARTBEAT and flags & Flags.OWN and (at := waiting.pop(tag, None)) is not None:
                played.took_s.append(now_s - due[at])
                played.lasted_s = now_s
                self.left -= 1
                if kind == Told.REJECTED:
                    played.rejected[Reason(reason).name] += 1


def play(links: Sequence[Link], *, per_s: float, for_s: float, mix: Mix, price: int = 10_000) -> Played:
    """Send for so long, and wait for what is not answered then, five seconds at most."""
    what = planned(links, per_s=per_s, for_s=for_s, price=price, mix=mix)
    gc.collect()
    gc.disable()
    try:
        return _Loop(links, what).run()
    finally:
        gc.enable()
