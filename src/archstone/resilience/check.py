"""Settings that are checked as a whole: every fault at once, with its value.

    check(self, failure_ratio=(0 < self.failure_ratio <= 1, "in (0, 1]"), min_calls=(self.min_calls >= 1, "at least 1"))

Write each comparison so that NaN makes it false.
"""

from typing import cast

from archstone.errors import ConfigError

__all__ = ["SettingsError", "check", "is_errors"]


class SettingsError(ConfigError, code="resilience.settings"):
    """A policy was built with settings that cannot be. All of them are named."""

    def __init__(self, owner: str, faults: tuple[str, ...]) -> None:
        super().__init__(owner, faults)
        self.owner = owner
        self.faults = faults

    def __str__(self) -> str:
        return f"{self.owner}: " + "; ".join(self.faults)


def check(owner: object, /, **rules: tuple[bool, str]) -> None:
    """Raise SettingsError when a rule does not hold.

    Args:
        owner: The value whose attributes are checked; its class names it in the text.
        rules: Attribute name to (whether it holds, what it must be).
    """
    faults = tuple(
        f"{name}={getattr(owner, name)!r} must be {wanted}" for name, (holds, wanted) in rules.items() if not holds
    )
    if faults:
        raise SettingsError(type(owner).__name__, faults)


def is_errors(value: object) -> bool:
    """Say whether `value` is what `except` takes, and no more than Exceptions. Callers without types pass anything."""
    return isinstance(value, tuple) and all(
        isinstance(one, type) and issubclass(one, Exception) for one in cast("tuple[object, ...]", value)
    )
