"""All that can happen to two nodes and a witness, in a small model that decides by the rules of the real ones.

A state is what is on the three disks, what each process has in mind, and what is under way. Every step that is possible
in it is taken: a write, a message that arrives or is lost or comes very late, a timeout, the end of a connection, a
crash, a folder that is emptied or put back. Leases count for nothing here: the witness may take any lease for over at
any moment, so what holds does not hang on clocks. Numbers of commands, crashes, questions and changed folders are
bounded; nothing else is.
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
    follower: str = ""
    """As a leader: who has connected last."""
    wants: bool = False
    """To have that one join, decided before it was its turn to ask."""
    folder: int = 0
    """Which of its two folders it has."""
    aside: tuple[Entry, ...] = ()
    """The log in the other one."""
    asks: Asked | None = None
    """What it waits to be answered."""
    answer: int | None = None
    """That is on its way: the epoch that was granted; 0: refused."""


class Wire(NamedTuple):
    """The connection of the follower to the leader."""

    leader: int
    alive: bool
    sent: tuple[Entry, ...] = ()
    """What the leader has sent and the follower has not taken: all that the leader's log has more."""
    held: Position | None = None
    """What the follower has said last, on its way."""


class State(NamedTuple):
    grant: Grant
    hosts: tuple[Host, Host]
    wire: Wire | None = None
    under_way: tuple[tuple[Asked, bool], ...] = ()
    """Questions on their way to the witness, and whether whoever asked still waits."""
    acknowledged: frozenset[tuple[int, Entry]] = frozenset()
    commands: int = 0
    crashes: int = 0
    asked: int = 0
    swaps: int = 0


@dataclass(frozen=True)
class Rules:
    """What the nodes go by. Tests put wrong ones in their place."""

    decide: Callable[..., Grant | None] = decide
    agreement: Callable[..., Position | None] = agreement
    word_before_joining: bool = True
    alone_when_granted: bool = True
    needs_word: bool = True
    checks_in_its_turn: bool = True
    hears_its_standby_alone: bool = True
    folders_count: bool = True


@dataclass(frozen=True)
class Bounds:
    commands: int
    crashes: int
    asked: int
    swaps: int = 0
    """How often a node is given its other folder."""


NAMES = ("a", "b")


def end_of(log: tuple[Entry, ...]) -> Position:
    return Position(log[-1][0], sum(command > 0 for _, command in log)) if log else Position(0, 0)


def epochs_of(log: tuple[Entry, ...]) -> tuple[Position, ...]:
    ends = {log[n][0]: end_of(log[: n + 1]).sequence for n in range(len(log))}
    return (Position(0, 0), *(Position(*each) for each in ends.items()))


def cut(log: tuple[Entry, ...], position: Position) -> tuple[Entry, ...]:
    return tuple(entry for n, entry in enumerate(log) if end_of(log[: n + 1]) <= position)


def identity(n: int, host: Host) -> str:
    return NAMES[n] + "'" * host.folder


def put(state: State, n: int, **changes: object) -> State:
    hosts = list(state.hosts)
    hosts[n] = hosts[n]._replace(**changes)
    return state._replace(hosts=(hosts[0], hosts[1]))


def waits_no_more(state: State, n: int) -> State:
    """Host `n` drops its question, which is on its way all the same."""
    asked = state.hosts[n].asks
    if asked is None:
        return state
    questions = sorted((each, waits and each != asked) for each, waits in state.under_way)
    return put(state, n, asks=None, answer=None)._replace(under_way=tuple(questions))


def plugged(wire: Wire) -> Wire | None:
    """Return a connection over which something can still happen."""
    return wire if wire.alive or wire.sent else None


def unplugged(state: State, n: int) -> State:
    """Host `n` ends its connection; what a leader has sent still arrives."""
    wire = state.wire
    if wire is None:
        return state
    return state._replace(wire=plugged(wire._replace(alive=False, held=None)) if wire.leader == n else None)


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
        for question in set(state.under_way):
            yield from self.of_witness(state, question)

    def of_host(self, state: State, n: int) -> Iterator[State]:
        host = state.hosts[n]
        died = waits_no_more(unplugged(state, n), n)
        died = put(died, n, leading=None, open=False, joined=False, follower="", wants=False)
        if state.crashes < self.bounds.crashes:
            yield died._replace(crashes=state.crashes + 1)
        if state.swaps < self.bounds.swaps:
            folder = 1 - host.folder if self.rules.folders_count else 0
            other = put(died, n, log=host.aside, aside=host.log, folder=folder)
            yield other._replace(swaps=state.swaps + 1)
        if host.asks is not None:
            yield waits_no_more(state, n)
        if host.asks is not None and host.answer is not None:
            yield self.answered(put(state, n, asks=None, answer=None), n, host.asks, host.answer)

    def ask(self, state: State, n: int, what: Ask, leading: Leading | None, **changes: object) -> Iterator[State]:
        if state.asked >= self.bounds.asked or state.hosts[n].asks is not None:
            return
        epoch = leading.epoch if leading is not None else end_of(state.hosts[n].log).epoch
        serial = leading.serial if leading is not None else 0
        host = state.hosts[n]
        asked = Asked(what, identity(n, host), epoch, serial, host.follower if what is Ask.JOIN else "")
        state = put(state, n, asks=asked, leading=leading, **changes)
        yield state._replace(under_way=tuple(sorted([*state.under_way, (asked, True)])), asked=state.asked + 1)

    def of_leader(self, state: State, n: int, host: Host, leading: Leading) -> Iterator[State]:
        last = end_of(host.log).sequence
        if not host.open and state.commands < self.bounds.commands:
            entry = (leading.epoch, state.commands + 1)
            wire = state.wire
            if wire is not None and wire.leader == n and wire.alive:
                wire = wire._replace(sent=(*wire.sent, entry))
            state = put(state, n, log=(*host.log, entry), open=True)._replace(wire=wire)
            yield state._replace(commands=state.commands + 1)
        if host.open and (leading.may_acknowledge(last, 0) or not self.rules.needs_word):
            yield put(state, n, open=False)._replace(acknowledged=state.acknowledged | {(last, host.log[-1])})
        yield from self.of_leader_with_follower(state, n, host, leading)
        if leading.standby:
            parting = leading.asking()
            if not self.rules.alone_when_granted:
                parting = parting.parted()
            yield from self.ask(state, n, Ask.ALONE, parting, joined=False)

    def of_leader_with_follower(self, state: State, n: int, host: Host, leading: Leading) -> Iterator[State]:
        if leading.held is not None and not leading.standby and self.rules.word_before_joining:
            yield put(state, n, leading=leading.needing(host.follower))
        holds_all = leading.held is not None and leading.held >= end_of(host.log).sequence - host.open
        may_join = holds_all and not host.joined
        if may_join and (leading.standby == host.follower or not self.rules.word_before_joining):
            yield from self.ask(state, n, Ask.JOIN, leading.asking())
        if not self.rules.checks_in_its_turn:
            if may_join and host.asks is not None:
                yield put(state, n, wants=True)
            if host.wants:
                yield from self.ask(state, n, Ask.JOIN, leading.needing(host.follower).asking(), wants=False)

    def of_other(self, state: State, n: int, host: Host) -> Iterator[State]:
        wire = None if state.wire is not None and state.wire.leader != n else state.wire
        yield from self.ask(state._replace(wire=wire), n, Ask.CLAIM, None)
        other, who = state.hosts[1 - n], identity(n, host)
        if state.wire is not None or other.leading is None or end_of(host.log).epoch > other.leading.epoch:
            return
        if other.leading.hears(who) or not self.rules.hears_its_standby_alone:
            position = self.rules.agreement(epochs_of(other.log), epochs_of(host.log))
            assert position is not None
            same = cut(other.log, position)
            state = put(state, n, log=cut(host.log, position))
            state = put(state, 1 - n, leading=other.leading.connected(), joined=False, follower=who)
            held = end_of(same) if same and same[-1][0] == other.leading.epoch else None
            yield state._replace(wire=Wire(1 - n, alive=True, sent=other.log[len(same) :], held=held))

    def of_wire(self, state: State) -> Iterator[State]:
        wire = state.wire
        if wire is None:
            return
        yield state._replace(wire=None)
        leader, follower = state.hosts[wire.leader], state.hosts[1 - wire.leader]
        if wire.sent and follower.leading is None:
            log = (*follower.log, wire.sent[0])
            # Of an older epoch nobody listens to it.
            told = wire.alive and leader.leading is not None and log[-1][0] == leader.leading.epoch
            after = wire._replace(sent=wire.sent[1:], held=end_of(log) if told else wire.held)
            yield put(state, 1 - wire.leader, log=log)._replace(wire=plugged(after))
        if wire.held is not None and leader.leading is not None:
            heard = leader.leading.told(wire.held.sequence)
            yield put(state, wire.leader, leading=heard)._replace(wire=wire._replace(held=None))

    def of_witness(self, state: State, question: tuple[Asked, bool]) -> Iterator[State]:
        # One that is lost is one that nobody ever takes out.
        left = list(state.under_way)
        left.remove(question)
        state = state._replace(under_way=tuple(left))
        granted = self.rules.decide(state.grant, question[0], lease_over=True)
        if question[1]:
            state = put(state, NAMES.index(question[0].node[0]), answer=granted.epoch if granted else 0)
        yield state._replace(grant=granted or state.grant)

    def answered(self, state: State, n: int, asked: Asked, epoch: int) -> State:
        host = state.hosts[n]
        match asked.what:
            case Ask.CLAIM if epoch:
                return put(state, n, log=(*host.log, (epoch, 0)), leading=Leading(epoch=epoch, until_s=inf))
            case _ if not epoch:
                return put(unplugged(state, n), n, leading=None, open=False, joined=False)
            case Ask.JOIN:
                assert host.leading is not None
                return put(state, n, joined=True, leading=host.leading.needing(asked.other))
            case _:
                assert host.leading is not None
                return put(unplugged(state, n), n, leading=host.leading.parted(), joined=False)


def wrong(state: State) -> str | None:
    """Return what must never be, if it is."""
    places = [place for place, _ in state.acknowledged]
    if len(places) != len(set(places)):
        return "two commands were acknowledged in one place"
    for n, host in enumerate(state.hosts):
        if (name := identity(n, host)) in {state.grant.leader, state.grant.standby}:
            log = [entry for entry in host.log if entry[1]]
            for place, entry in state.acknowledged:
                if len(log) < place or log[place - 1] != entry:
                    return f"{name} may lead, and lacks a command that was acknowledged"
    return None


BEGIN = State(Grant(epoch=1, leader="a"), (Host(log=((1, 0),), leading=Leading(epoch=1, until_s=inf)), Host()))
"""One leads alone, the other has nothing."""
PAIRED = State(
    Grant(epoch=1, leader="a", standby="b", serial=1),
    (
        Host(
            log=((1, 0),),
            leading=Leading(epoch=1, standby="b", held=0, serial=1, until_s=inf),
            joined=True,
            follower="b",
        ),
        Host(log=((1, 0),)),
    ),
    wire=Wire(0, alive=True),
)
"""One leads, the other is its standby."""
ALONE = Asked(Ask.ALONE, "a", 1, 2)
PARTING = State(
    Grant(epoch=1, leader="a", standby="b", serial=1),
    (
        Host(
            log=((1, 0), (1, 1)),
            leading=Leading(epoch=1, standby="b", held=0, serial=2, until_s=inf),
            open=True,
            follower="b",
            asks=ALONE,
        ),
        Host(log=((1, 0),)),
    ),
    wire=Wire(0, alive=True, sent=((1, 1),)),
    under_way=((ALONE, True),),
    commands=1,
)
"""The standby has not said that it holds a command, and the leader has asked to go on alone."""
TAKEN_OVER = State(
    Grant(epoch=2, leader="b"),
    (Host(log=((1, 0), (1, 1))), Host(log=((1, 0), (2, 0)), leading=Leading(epoch=2, until_s=inf))),
    commands=1,
)
"""The standby leads; the old leader is back, with a frame that was never acknowledged."""


def search(begin: State, rules: Rules, bounds: Bounds) -> tuple[int, str | None, int]:
    """Visit every state that can be reached; return how many, what was wrong, and in how many something was kept."""
    model, seen, todo, told = Model(rules, bounds), {begin}, [begin], 0
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


@pytest.mark.parametrize(
    ("begin", "bounds"),
    [
        pytest.param(BEGIN, Bounds(commands=1, crashes=0, asked=2), id="begin"),
        pytest.param(BEGIN, Bounds(commands=2, crashes=0, asked=2), id="two commands", marks=pytest.mark.slow),
        pytest.param(TAKEN_OVER, Bounds(commands=2, crashes=1, asked=1), id="taken over"),
        pytest.param(PAIRED, Bounds(commands=1, crashes=0, asked=1, swaps=2), id="another folder"),
        pytest.param(PAIRED, Bounds(commands=1, crashes=0, asked=2, swaps=2), id="and asks", marks=pytest.mark.slow),
        pytest.param(BEGIN, Bounds(commands=2, crashes=1, asked=2), id="with a crash", marks=pytest.mark.slow),
        pytest.param(TAKEN_OVER, Bounds(commands=3, crashes=1, asked=2), id="for longer", marks=pytest.mark.slow),
    ],
)
def test_in_no_order_of_events_is_an_acknowledged_command_lost_or_two_put_in_one_place(
    begin: State, bounds: Bounds
) -> None:
    states, fault, told = search(begin, Rules(), bounds)
    assert fault is None
    assert states > 1_000
    assert told > 500


def anybody(grant: Grant, asked: Asked, *, lease_over: bool) -> Grant | None:
    """A witness that lets anybody lead."""
    if asked.what is Ask.CLAIM:
        return Grant(epoch=grant.epoch + 1, leader=asked.node)
    return decide(grant, asked, lease_over=lease_over)


def forgetful(grant: Grant, asked: Asked, *, lease_over: bool) -> Grant | None:
    """A witness that listens to questions that were overtaken."""
    return decide(replace(grant, serial=0), asked, lease_over=lease_over)


def uncut(mine: tuple[Position, ...], theirs: tuple[Position, ...]) -> Position:
    """A standby that keeps whatever it has."""
    return theirs[-1]


@pytest.mark.parametrize(
    ("begin", "rules", "bounds"),
    [
        pytest.param(BEGIN, Rules(decide=anybody), Bounds(1, 0, 1), id="anybody leads"),
        pytest.param(BEGIN, Rules(decide=forgetful), Bounds(1, 0, 2), id="late questions count"),
        pytest.param(TAKEN_OVER, Rules(agreement=uncut), Bounds(2, 0, 1), id="nothing is cut"),
        pytest.param(BEGIN, Rules(word_before_joining=False), Bounds(1, 0, 1), id="joins too late"),
        pytest.param(BEGIN, Rules(alone_when_granted=False), Bounds(1, 0, 2), id="parts too early"),
        pytest.param(BEGIN, Rules(needs_word=False), Bounds(1, 0, 1), id="no word"),
        pytest.param(PARTING, Rules(checks_in_its_turn=False), Bounds(1, 0, 1), id="joins after it has parted"),
        pytest.param(PAIRED, Rules(hears_its_standby_alone=False), Bounds(1, 0, 0, 2), id="anybody's word"),
        pytest.param(PAIRED, Rules(folders_count=False), Bounds(1, 0, 0, 1), id="names alone count"),
    ],
)
def test_rules_that_are_wrong_are_found_out(begin: State, rules: Rules, bounds: Bounds) -> None:
    _, fault, _ = search(begin, rules, bounds)
    assert fault is not None
