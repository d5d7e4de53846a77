"""Who waits for the ends of sagas in this process, and how they are told."""

import asyncio

from archstone.sagas.drive import Ending
from archstone.sagas.errors import SagasClosedError
from archstone.sagas.rows import SagaRow

__all__ = ["Answers", "ending_of"]


def ending_of(row: SagaRow) -> Ending | None:
    """Return how a saga has ended, None if it has not."""
    match row.status:
        case "done" | "failed":
            return Ending(row.status, row.method, row.version, row.answer or b"null")
        case "stuck":
            return Ending("stuck", row.method, row.version, (row.why or "").encode())
        case _:
            return None


class Answers:
    """The futures of those who wait for sagas of one engine."""

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._waiting: dict[str, list[asyncio.Future[Ending]]] = {}

    def expect(self, saga: str) -> "asyncio.Future[Ending]":
        """Return a future of the ending that a saga has not had yet. Whoever gives up on it says `forget`."""
        news: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(saga, []).append(news)
        return news

    def forget(self, saga: str, news: "asyncio.Future[Ending]") -> None:
        """Drop a future that nobody waits for any more."""
        waiting = self._waiting.get(saga)
        if waiting is not None and news in waiting:
            waiting.remove(news)
            if not waiting:
                del self._waiting[saga]

    def awaited(self) -> list[str]:
        """Return the sagas that somebody waits for."""
        return list(self._waiting)

    def tell(self, saga: str, news: Ending | Exception) -> None:
        """Tell those who wait for a saga."""
        for future in self._waiting.pop(saga, ()):
            if future.done():
                continue
            if isinstance(news, Exception):
                future.set_exception(news)
            else:
                future.set_result(news)

    def parked(self, saga: str) -> None:
        """Tell those who wait for a saga that it goes on when the engine opens again."""
        if saga in self._waiting:
            self.tell(saga, SagasClosedError(self._engine, saga))
