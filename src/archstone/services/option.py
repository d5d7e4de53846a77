"""What can be set about a system: its own options, declared beside its wiring.

    parcels = Option("parcels", about="How fast parcels come.", default="slow", choices=("slow", "fast"))
    shop = System("shop", ..., options=[parcels])

A system takes the options that it declares and no others: a misspelt one is refused. Values are text;
who makes what they mean is the system's providers, which find them, defaults included, in `Environment.settings`.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from archstone.errors import ConfigError

__all__ = ["Option", "option_fault", "option_values"]

_NAME: Final = re.compile(r"[a-z][a-z0-9_]*\*?")


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a system: `--set name=value`, `ARCHSTONE_OPTION_NAME`, or a line of the table `[options]`."""

    name: str
    """Lower case letters, digits and underscores. With `*` at its end it stands for all names that begin so, such as
    those of a plug-in: they have no default."""
    about: str = field(kw_only=True)
    """One line for who sets it."""
    default: str = field(kw_only=True, default="")
    choices: tuple[str, ...] = field(kw_only=True, default=())
    """The values it may have; () for any text."""
    connects: bool = field(kw_only=True, default=False)
    """Whether its value can be the URL of a server that the system connects to."""
    listens: bool = field(kw_only=True, default=False)
    """Whether its value can be HOST:PORT, where the system takes what is not for everybody, without TLS."""

    def __post_init__(self) -> None:
        faults: list[str] = []
        if not _NAME.fullmatch(self.name):
            faults.append("its name must be lower case letters, digits and underscores")
        if self.choices and self.default not in self.choices:
            faults.append(f"its default {self.default!r} is not one of its choices, {', '.join(self.choices)}")
        if faults:
            raise ConfigError(f"option {self.name!r}: {'; '.join(faults)}")

    @property
    def is_family(self) -> bool:
        """Whether it stands for all names with a beginning."""
        return self.name.endswith("*")

    def takes(self, name: str) -> bool:
        """Return whether it is the one called `name`."""
        return name.startswith(self.name[:-1]) and name != self.name[:-1] if self.is_family else name == self.name


def option_fault(declared: Sequence[Option], name: str, value: str) -> str | None:
    """Return why an option cannot be set so, with the way out; None when it can."""
    found = next((each for each in declared if each.takes(name)), None)
    if found is None:
        known = sorted(each.name for each in declared)
        near = difflib.get_close_matches(name, known, n=1)
        there_are = f"there are {', '.join(known)}" if known else "the system has none"
        return f"there is no such option{f', did you mean {near[0]}' if near else ''}; {there_are}"
    if found.choices and value not in found.choices:
        return f"take one of {', '.join(found.choices)}"
    return None


def option_values(declared: Sequence[Option], given: Mapping[str, str]) -> dict[str, str]:
    """Return what is given, and the default of each option that is not.

    Raises:
        ConfigError: An option is not declared, or has a value that is none of its choices; all faults at once.
    """
    told = {name: option_fault(declared, name, value) for name, value in given.items()}
    faults = [f"option {name}={given[name]!r}: {fault}" for name, fault in told.items() if fault is not None]
    if faults:
        raise ConfigError("; ".join(faults))
    return {**{each.name: each.default for each in declared if not each.is_family}, **given}
