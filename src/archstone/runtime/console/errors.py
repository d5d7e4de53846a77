"""What the console refuses."""

from archstone.errors import RejectedError

__all__ = ["TooManyWatchersError"]


class TooManyWatchersError(RejectedError, code="runtime.too-many-watchers"):
    """As many stories are watched already as may be. Nothing was begun."""

    def __init__(self, limit: int, retry_after_s: float = 5.0) -> None:
        super().__init__(limit, retry_after_s)
        self.limit = limit
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"{self.limit} stories are watched, as many as may be: ask for the story now and then instead"
