"""What a client of the binary protocol is told when a request was not done."""

from archstone.errors import LostError, RejectedError
from archstone.systems.exchange.entry.binary.messages import Fault

__all__ = ["EntryClosedError", "EntryRefusedError", "TooManyUnansweredError"]


class EntryRefusedError(RejectedError, code="exchange.entry-refused"):
    """The server did not take a request; nothing of it has happened. A new order needs a new number."""

    def __init__(self, fault: int, retry_after_s: float) -> None:
        super().__init__(fault, retry_after_s)
        self.fault = Fault(fault)
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"order entry: request not taken, {self.fault.name}: try again in {self.retry_after_s:.3f} s"


class TooManyUnansweredError(RejectedError, code="exchange.too-many-unanswered"):
    """The client waits for so many answers that it takes no further request."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        return f"order entry: {self.limit} requests have no answer yet: wait for one of them, or raise `unanswered`"


class EntryClosedError(LostError, code="exchange.entry-closed"):
    """The client has ended; whether what it waited for was done is told by the reports after its `position`."""

    def __init__(self, fault: int) -> None:
        super().__init__(fault)
        self.fault = Fault(fault)

    def __str__(self) -> str:
        return f"order entry: closed, {self.fault.name}: what had no answer may have been done; read the reports"
