"""All rules together: facts in, findings out. Only the time of the facts counts, and only the last seconds are kept.

    watch = Watch(Rules())
    for batch in batches:
        for found in watch.see(batch):
            ...

What is found from some moment on is the same for a watch that has seen everything and for one that begins `horizon_s`
before it, given the findings of that time (`remember`). So a restart needs no copy of the state.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from archstone.systems.exchange.sequencer import Batch
from archstone.systems.exchange.surveillance.flow import Fact, Found, facts_of
from archstone.systems.exchange.surveillance.layering import Layering, LayeringWatch
from archstone.systems.exchange.surveillance.washing import Washing, WashingWatch

__all__ = ["Found", "Rules", "Watch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What raises alerts. None: a rule is off."""

    layering: Layering | None = field(default_factory=Layering)
    washing: Washing | None = field(default_factory=Washing)

    @property
    def horizon_s(self) -> float:
        """How far back something may matter for what is found now, seconds."""
        return max((rule.horizon_s for rule in (self.layering, self.washing) if rule is not None), default=0.0)


class _Rule(Protocol):
    def advance(self, at_ns: int) -> None: ...
    def remember(self, book: int, account: int, at_ns: int) -> None: ...
    def see(self, fact: Fact) -> Iterator[Found]: ...
    def __len__(self) -> int: ...


class Watch:
    """The rules, and what they remember."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._washing = WashingWatch(rules.washing) if rules.washing is not None else None
        self._watches: dict[str, _Rule] = {}
        if rules.layering is not None:
            self._watches["layering"] = LayeringWatch(rules.layering)
        if self._washing is not None:
            self._watches["washing"] = self._washing

    def __len__(self) -> int:
        """Count what is remembered."""
        return sum(map(len, self._watches.values()))

    def relate(self, persons: Mapping[int, int]) -> None:
        """Say which person each account belongs to; those of one person are one hand from now on."""
        if self._washing is not None:
            self._washing.persons = persons

    def remember(self, rule: str, book: int, account: int, at_ns: int) -> None:
        """Tell of a finding that was made before this watch began."""
        if rule in self._watches:
            self._watches[rule].remember(book, account, at_ns)

    def see(self, batch: Batch) -> list[Found]:
        """Return what the rules find in a batch."""
        for rule in self._watches.values():
            rule.advance(batch.at_ns)
        watches = [*self._watches.values()]
        return [found for fact in facts_of(batch) for rule in watches for found in rule.see(fact)]
