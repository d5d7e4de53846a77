"""All that can happen to two nodes and a witness, in a small model that decides by the rules of the real ones.

A state is what is on the three disks, what each process has in mind, and what is under way. Every step that is possible
in it is taken: a write, a message that arrives or is lost or comes very late, a timeout, the end of a connection, a
crash. Leases count for nothing here: the witness may take any lease for over at any moment, so what holds does not hang
on clocks. Numbers of commands, crashes and questions are bounded; nothing else is.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import inf
from typing import NamedTuple

import pytest

from archstone.systems.exchange.sequencer.frames import Position, agreement
from archstone.systems.exchange.sequencer.grant import Ask, Asked, Grant, decide
from archstone.systems.exchange.sequencer.leading import Leading

Entry = tuple[int, int]
"""A frame: epoch, and a command; 0 in the frame that begins an epoch."""


class Host(NamedTuple):
    """One node: its log on disk, and what it has in mind."""

    log: tuple[Entry, ...] = ()
    leading: Leading | None = None
    open: bool = False
    """As a leader: its last frame is not acknowledged."""
    joined: bool = False
    asks: tuple[Asked, int] | None = None
    """What it waits to be answered."""


class Wire(NamedTuple):
    """The connection of the follower to the leader."""

    leader: int
    alive: bool
    next: int
    """Frame of the leader's log that is sent next."""
    sent: tuple[Entry, ...] = ()
    held: Position | None = None
    """What the follower has said last, on its way."""


class State(NamedTuple):
    grant: Grant
    hosts: tuple[Host, Host]
    wire: Wire | None = None
    under_way: frozenset[tuple[Asked, int]] = frozenset()
    answers: frozenset[tuple[int, int]] = frozenset()
    """Number of the question, epoch that was granted; 0: refused."""
    acknowledged: frozenset[tuple[int, Entry]] = frozenset()
    commands: int = 0
    crashes: int = 0
    asked: int = 0


@dataclass(frozen=True)
class Rules:
    """What the nodes go by. Tests put wrong ones in their place."""

    decide: Callable[..., Grant | None] = decide
    agreement: Callable[..., Position | None] = agreement
    word_before_joining: bool = True
    alone_when_granted: bool = True
    needs_word: bool = True


@dataclass(frozen=True)
class Bounds:
    commands: int
    crashes: int
    asked: int


NAMES = ("a", "b")


def end_of(log: tuple[Entry, ...]) -> Position:
    return Position(log[-1][0], sum(command > 0 for _, command in log)) if log else Position(0, 0)


def epochs_of(log: tuple[Entry, ...]) -> tuple[Position, ...]:
    ends = {log[n][0]: end_of(log[: n + 1]).sequence for n in range(len(log))}
    return (Position(0, 0), *(Position(*each) for each in ends.items()))


def cut(log: tuple[Entry, ...], position: Position) -> tuple[Entry, ...]:
    return tuple(entry for n, entry in enumerate(log) if end_of(log[: n + 1]) <= position)


def put(state: State, n: int, **changes: object) -> State:
    hosts = list(state.hosts)
    hosts[n] = hosts[n]._replace(**changes)
    return state._replace(hosts=(hosts[0], hosts[1]))


def unplugged(state: State, n: int) -> State:
    """Host `n` ends its connection; what a leader has sent still arrives."""
    wire = state.wire
    if wire is None:
        return state
    return state._replace(wire=wire._replace(alive=False, held=None) if wire.leader == n else None)


class Model:
    def __init__(self, rules: Rules, bounds: Bounds) -> None:
        self.rules, self.bounds = rules, bounds

    def steps(self, state: State) -> Iterator[State]:
        for n in (0, 1):
            yield from self.of_host(state, n)
            if state.hosts[n].leading is not None:
                yield from self.of_leader(state, n, state.hosts[n], state.hosts[n].leading)
            else:
                yield from self.of_other(state, n, state.hosts[n])
        yield from self.of_wire(state)
        for question in state.under_way:
            yield from self.of_witness(state, question)

    def of_host(self, state: State, n: int) -> Iterator[State]:
        host = state.hosts[n]
        if state.crashes < self.bounds.crashes:
            yield put(unplugged(state, n), n, leading=None, open=False, joined=False, asks=None)._replace(
                crashes=state.crashes + 1
            )
        if host.asks is not None:
            yield put(state, n, asks=None)  # it waits no longer
            asked, number = host.asks
            for answer in state.answers:
                if answer[0] == number:
                    yield self.answered(state._replace(answers=state.answers - {answer}), n, asked, answer[1])

    def ask(self, state: State, n: int, what: Ask, leading: Leading | None, **changes: object) -> Iterator[State]:
        if state.asked >= self.bounds.asked or state.hosts[n].asks is not None:
            return
        epoch = leading.epoch if leading is not None else end_of(state.hosts[n].log).epoch
        serial = leading.serial if leading is not None else 0
        asked = Asked(what, NAMES[n], epoch, serial, NAMES[1 - n] if what is Ask.JOIN else "")
        question = (asked, state.asked)
        state = put(state, n, asks=question, leading=leading, **changes)
        yield state._replace(under_way=state.under_way | {question}, asked=state.asked + 1)

    def of_leader(self, state: State, n: int, host: Host, leading: Leading) -> Iterator[State]:
        last = end_of(host.log).sequence
        if not host.open and state.commands < self.bounds.commands:
            entry = (leading.epoch, state.commands + 1)
            yield put(state, n, log=(*host.log, entry), open=True)._replace(commands=state.commands + 1)
        if host.open and (leading.may_acknowledge(last, 0) or not self.rules.needs_word):
            yield put(state, n, open=False)._replace(acknowledged=state.acknowledged | {(last, host.log[-1])})
        if leading.held is not None and not host.joined and leading.held >= last - host.open:
            joining = leading.joining(NAMES[1 - n])
            if not self.rules.word_before_joining:
                joining = replace(joining, standby=leading.standby)
            yield from self.ask(state, n, Ask.JOIN, joining)
        if leading.standby:
            parting = leading.parting()
            if not self.rules.alone_when_granted:
                parting = parting.parted()
            yield from self.ask(state, n, Ask.ALONE, parting)

    def of_other(self, state: State, n: int, host: Host) -> Iterator[State]:
        wire = None if state.wire is not None and state.wire.leader != n else state.wire
        yield from self.ask(state._replace(wire=wire), n, Ask.CLAIM, None)
        other = state.hosts[1 - n]
        if state.wire is None and other.leading is not None and end_of(host.log).epoch <= other.leading.epoch:
            position = self.rules.agreement(epochs_of(other.log), epochs_of(host.log))
            assert position is not None
            same = cut(other.log, position)
            state = put(state, n, log=cut(host.log, position))
            state = put(state, 1 - n, leading=other.leading.connected(), joined=False)
            held = end_of(state.hosts[n].log)
            yield state._replace(wire=Wire(1 - n, alive=True, next=len(same), held=held))

    def of_wire(self, state: State) -> Iterator[State]:
        wire = state.wire
        if wire is None:
            return
        yield state._replace(wire=None)
        leader, follower = state.hosts[wire.leader], state.hosts[1 - wire.leader]
        if wire.alive and wire.next < len(leader.log):
            yield state._replace(wire=wire._replace(next=wire.next + 1, sent=(*wire.sent, leader.log[wire.next])))
        if wire.sent and follower.leading is None:
            taken = put(state, 1 - wire.leader, log=(*follower.log, wire.sent[0]))
            held = end_of(taken.hosts[1 - wire.leader].log) if wire.alive else None
            yield taken._replace(wire=wire._replace(sent=wire.sent[1:], held=held))
        if wire.held is not None and leader.leading is not None:
            told = leader.leading
            if wire.held.epoch == told.epoch:
                told = told.told(wire.held.sequence)
            yield put(state, wire.leader, leading=told)._replace(wire=wire._replace(held=None))

    def of_witness(self, state: State, question: tuple[Asked, int]) -> Iterator[State]:
        state = state._replace(under_way=state.under_way - {question})
        yield state  # lost
        granted = self.rules.decide(state.grant, question[0], lease_over=True)
        waits = any(host.asks == question for host in state.hosts)
        answers = state.answers | {(question[1], granted.epoch if granted else 0)} if waits else state.answers
        yield state._replace(grant=granted or state.grant, answers=answers)

    def answered(self, state: State, n: int, asked: Asked, epoch: int) -> State:
        state = put(state, n, asks=None)
        host = state.hosts[n]
        match asked.what:
            case Ask.CLAIM if epoch:
                return put(state, n, log=(*host.log, (epoch, 0)), leading=Leading(epoch=epoch, until_s=inf))
            case _ if not epoch:
                return put(unplugged(state, n), n, leading=None, open=False, joined=False)
            case Ask.JOIN:
                assert host.leading is not None
                return put(state, n, joined=True, leading=replace(host.leading, standby=NAMES[1 - n]))
            case _:
                assert host.leading is not None
                return put(unplugged(state, n), n, leading=host.leading.parted(), joined=False)


def wrong(state: State) -> str | None:
    """Return what must never be, if it is."""
    places = [place for place, _ in state.acknowledged]
    if len(places) != len(set(places)):
        return "two commands were acknowledged in one place"
    for n, name in enumerate(NAMES):
        if name in {state.grant.leader, state.grant.standby}:
            log = [entry for entry in state.hosts[n].log if entry[1]]
            for place, entry in state.acknowledged:
                if len(log) < place or log[place - 1] != entry:
                    return f"{name} may lead, and lacks a command that was acknowledged"
    return None


START = State(Grant(epoch=1, leader="a"), (Host(log=((1, 0),), leading=Leading(epoch=1, until_s=inf)), Host()))


def search(rules: Rules, bounds: Bounds) -> tuple[int, str | None, int]:
    """Visit every state that can be reached; return how many, what was wrong, and how many had something acknowledged."""
    model, seen, todo, told = Model(rules, bounds), {START}, [START], 0
    while todo:
        state = todo.pop()
        told += bool(state.acknowledged)
        for following in model.steps(state):
            if following not in seen:
                if (fault := wrong(following)) is not None:
                    return len(seen), fault, told
                seen.add(following)
                todo.append(following)
    return len(seen), None, told


def test_in_no_order_of_events_is_an_acknowledged_command_lost_or_two_put_in_one_place() -> None:
    states, fault, told = search(Rules(), Bounds(commands=2, crashes=1, asked=2))
    assert fault is None
    assert states > 1_000
    assert told > 100


@pytest.mark.slow
def test_nor_in_a_larger_model() -> None:
    states, fault, _ = search(Rules(), Bounds(commands=2, crashes=2, asked=3))
    assert fault is None
    assert states > 10_000


def anybody(grant: Grant, asked: Asked, *, lease_over: bool) -> Grant | None:
    """A witness that lets anybody lead."""
    if asked.what is Ask.CLAIM:
        return Grant(epoch=grant.epoch + 1, leader=asked.node)
    return decide(grant, asked, lease_over=lease_over)


def forgetful(grant: Grant, asked: Asked, *, lease_over: bool) -> Grant | None:
    """A witness that listens to questions that were overtaken."""
    return decide(replace(grant, serial=0), asked, lease_over=lease_over)


def shorter(mine: tuple[Position, ...], theirs: tuple[Position, ...]) -> Position:
    """Logs that are compared by length alone."""
    return Position(max(mine[-1].epoch, theirs[-1].epoch), min(mine[-1].sequence, theirs[-1].sequence))


@pytest.mark.parametrize(
    ("rules", "bounds"),
    [
        (Rules(decide=anybody), Bounds(1, 0, 1)),
        (Rules(decide=forgetful), Bounds(1, 0, 2)),
        (Rules(agreement=shorter), Bounds(2, 0, 3)),
        (Rules(word_before_joining=False), Bounds(1, 0, 1)),
        (Rules(alone_when_granted=False), Bounds(1, 0, 2)),
        (Rules(needs_word=False), Bounds(1, 0, 1)),
    ],
    ids=["anybody leads", "late questions count", "length alone", "joins too late", "parts too early", "no word"],
)
def test_rules_that_are_wrong_are_found_out(rules: Rules, bounds: Bounds) -> None:
    _, fault, _ = search(rules, bounds)
    assert fault is not None
