"""The world as a saga's body sees it: every question is refused, since a replay could not repeat the answer."""

from random import Random
from typing import NoReturn

from archstone.sagas.errors import WorldInSagaError
from archstone.world import World

__all__ = ["BODY_WORLD"]


class _BodyWorld(World):
    def monotonic(self) -> float:
        _refuse("monotonic()")

    def now_us(self) -> int:
        _refuse("now()")

    def random(self) -> Random:
        _refuse("random()")

    def secret_bytes(self, count: int) -> bytes:
        _refuse(f"secret_bytes({count})")


def _refuse(asked: str) -> NoReturn:
    raise WorldInSagaError(asked)


BODY_WORLD = _BodyWorld()
