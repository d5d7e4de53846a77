"""Keys of the calls that are made under a key: derived from it, the same at each repeat, another for each call."""

from archstone.services.operation import Operation

__all__ = ["NestedKeys"]


class NestedKeys(str):
    """The key of one attempt of a saga's step, from which the commands that it calls derive theirs.

    It counts its calls, and a new attempt gets a new one. So the n-th call of an operation has the same key in each
    attempt, and is one effect; two calls of one attempt are two. The count travels with the key and not in a ContextVar
    of its own, since the tasks of one attempt share it.
    """

    __slots__ = ("_counts",)

    def __init__(self, _key: str) -> None:
        self._counts: dict[str, int] = {}

    def next(self, operation: Operation) -> str:
        """Return the key of the next call of `operation`."""
        name = operation.full_name
        number = self._counts[name] = self._counts.get(name, 0) + 1
        return f"{self}/{name}#{number}"
