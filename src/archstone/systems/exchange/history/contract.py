"""What history promises: a list of the files that are final."""

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from archstone.errors import DomainError
from archstone.services import Contract, query

__all__ = ["History", "HistoryOffError", "Part", "Parts"]


class HistoryOffError(DomainError, code="exchange.history-off", status=409):
    """No history is kept."""

    def __str__(self) -> str:
        return "no history is kept: start the exchange with --set history=on"


class Part(BaseModel):
    """One Parquet file."""

    model_config = ConfigDict(frozen=True)

    path: str
    """Below the folder of the history."""
    kind: Literal["trades", "events"]
    day: date
    symbol: str
    first: int
    """No row of it is of a command before this one,"""
    last: int
    """or after this one."""
    size_bytes: int


class Parts(BaseModel):
    """Files, by path."""

    model_config = ConfigDict(frozen=True)

    folder: str
    items: tuple[Part, ...]
    last: int
    """Commands up to this one are in the files."""


class History(Contract, version="1.0"):
    """The files of trades and events."""

    @query("/history/parts", public=True, requires="history:read", raises=(HistoryOffError,))
    async def parts(
        self,
        day: date,
        symbol: str | None = None,
        kind: Literal["trades", "events"] = "trades",
        limit: Annotated[int, Field(ge=1, le=10_000)] = 1_000,
    ) -> Parts:
        """Return the final files of a day."""
        ...
