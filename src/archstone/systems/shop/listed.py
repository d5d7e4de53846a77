"""Lists in statements, the same on both databases: `IN (...)` with a fixed number of places.

A number of its own for each list would be a text of its own, and prepared each time.
"""

from collections.abc import Iterator, Sequence

__all__ = ["filled", "pieces", "places"]


def places(name: str, count: int) -> str:
    """Return `count` parameters to stand between the brackets of an IN: `:name0, :name1, ...`."""
    return ", ".join(f":{name}{number}" for number in range(count))


def filled(name: str, values: Sequence[str], count: int) -> dict[str, str]:
    """Return what goes into the places; the last value fills those that are left.

    Args:
        name: As `places` was told.
        values: 1 to `count`.
        count: As `places` was told.
    """
    return {f"{name}{number}": values[min(number, len(values) - 1)] for number in range(count)}


def pieces(name: str, values: Sequence[str], count: int) -> Iterator[dict[str, str]]:
    """Return what goes into the places of each statement that any number of values needs."""
    for first in range(0, len(values), count):
        yield filled(name, values[first : first + count], count)
