"""What the trials came to: one JSON document, a table for each scene, and the conclusion in words.

Each sentence of the conclusion is a claim with the two figures that it rests on. A run that does not bear it out says
so, so the words cannot be better than the figures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from archstone.lab.herd.origin import STEP_S
from archstone.lab.herd.scene import Scene
from archstone.lab.herd.trial import Trial

__all__ = ["FORMAT", "conclusion_of", "report_of", "rows_of"]

FORMAT: Final = "archstone-herd/1"
_COLUMNS: Final = ("defence", "loads", "loads per key", "most at once", "wasted", "p50", "p99", "max", "failed")
_BETTER_RATIO: Final = 0.8
"""At most this part of the other figure is left where something has helped."""
_ALIKE_RATIO: Final = 0.5
"""At least this part of it where nothing was to be had."""


def report_of(played: Sequence[tuple[Scene, Sequence[Trial]]], *, seed: int, real: bool) -> dict[str, Any]:
    """Return the document. On virtual time the same seed gives the same document.

    Args:
        played: The scenes with their trials.
        seed: What arrivals and durations were drawn from.
        real: Whether it was real time and an origin behind HTTP.
    """
    report: dict[str, Any] = {
        "format": FORMAT,
        "seed": seed,
        "real": real,
        "step_s": STEP_S,
        "scenes": [
            {
                **asdict(scene),
                "event_s": scene.event_s,
                "to_s": scene.to_s,
                "capacity_per_s": scene.places / scene.load_s,
                "trials": [trial.as_json() for trial in trials],
            }
            for scene, trials in played
        ],
    }
    return {**report, "conclusion": conclusion_of(report)}


def rows_of(scene: Mapping[str, Any]) -> tuple[Sequence[str], list[list[str]]]:
    """Return the columns and rows of the table of a scene of the document. Times are milliseconds."""
    rows = [
        [
            trial["defence"],
            *(_number(trial[name]) for name in ("loads", "loads_per_key", "peak", "wasted")),
            *("" if trial[name] is None else _short(trial[name]) for name in ("p50", "p99", "max")),
            _number(trial["failed"]),
        ]
        for trial in scene["trials"]
    ]
    return _COLUMNS, rows


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    """What one defence does to one figure, compared with another one."""

    scene: str
    defence: str
    against: str = "naive"
    figure: str
    told: str
    """What stands after the figure: its unit, and what it counts."""
    text: str
    helps: bool = True
    """False: the claim is that it makes no great difference."""

    def judge(self, before: float, after: float) -> str:
        """Return the sentence."""
        shown = after < before * _BETTER_RATIO if self.helps else after >= before * _ALIKE_RATIO
        text = self.text if shown else f"Not shown by this run: {self.text[0].lower()}{self.text[1:]}"
        against = "naively" if self.against == "naive" else f"with {self.against}"
        return f"{text}: {_short(before)} {self.told} {against}, {_short(after)} with {self.defence}."


_CLAIMS: Final = (
    _Claim(
        scene="hot", defence="coalescing", figure="loads", told="loads for one key",
        text="One load for all who ask stops the herd at a hot key",
    ),
    _Claim(
        scene="hot", defence="TTL jitter", figure="loads", told="loads for one key", helps=False,
        text="Jitter does nothing for a single key, which ends when it ends",
    ),
    _Claim(
        scene="hot", defence="early refresh", against="coalescing", figure="p99", told="ms at p99",
        text="Coalesced readers still wait for that load; renewed early by chance, the value never ends under them",
    ),
    _Claim(
        scene="hot", defence="refresh-ahead", against="coalescing", figure="p99", told="ms at p99",
        text="The same with a refresh ahead of the end",
    ),
    _Claim(
        scene="hot", defence="stale-while-revalidate", against="coalescing", figure="p99", told="ms at p99",
        text="The same with the old value served meanwhile",
    ),
    _Claim(
        scene="together", defence="TTL jitter", figure="peak", told="at once at the origin",
        text="Jitter spreads what would end together",
    ),
    _Claim(
        scene="together", defence="stale-while-revalidate", against="coalescing", figure="p99", told="ms at p99",
        text="One load per key is still a load for each key at once; with stale values nobody stands in that line",
    ),
    _Claim(
        scene="cold", defence="early refresh", against="coalescing", figure="failed", told="failed reads", helps=False,
        text="In an empty cache there is nothing to renew and nothing stale to serve",
    ),
    _Claim(
        scene="cold", defence="breaker", figure="wasted", told="loads for readers who had gone by then",
        text="A breaker keeps an overloaded origin from working for nobody",
    ),
    _Claim(
        scene="cold", defence="coalescing", figure="failed", told="failed reads",
        text="One load per key carries an origin over an empty cache",
    ),
    _Claim(
        scene="cold", defence="all together", against="coalescing", figure="peak", told="at once at the origin",
        text="With no more loads at once than it has places, the line is before the origin and not in it",
    ),
)  # fmt: skip


def conclusion_of(report: Mapping[str, Any]) -> list[str]:
    """Return the sentences for which the document has the trials."""
    figures = {(scene["name"], trial["defence"]): trial for scene in report["scenes"] for trial in scene["trials"]}
    told: list[str] = []
    for claim in _CLAIMS:
        before, after = (figures.get((claim.scene, name)) for name in (claim.against, claim.defence))
        if before and after:
            told.append(claim.judge(before[claim.figure] or 0.0, after[claim.figure] or 0.0))
    return told


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or isinstance(value, int) else f"{round(value, 2):,g}"


def _short(value: float) -> str:
    """Return a time: what is counted to a hundredth of a millisecond is told to a tenth."""
    return _number(round(value, 1) if isinstance(value, float) else value)
