"""What can be wrong with a stream of batches."""

from archstone.errors import BackendError, LostError

__all__ = ["OtherStreamError", "StreamGapError", "UnknownBookError"]


class StreamGapError(LostError, code="exchange.stream-gap"):
    """Commands are missing between what a reader has kept and what it was given next. It has taken nothing of it."""

    def __init__(self, reader: str, expected: int, found: int) -> None:
        super().__init__(reader, expected, found)
        self.reader = reader
        self.expected = expected
        self.found = found

    def __str__(self) -> str:
        return (
            f"{self.reader}: command {self.expected} should come next, and {self.found} came: nothing of it was taken: "
            "give the reader a sequencer that still keeps what it lacks"
        )


class OtherStreamError(LostError, code="exchange.other-stream"):
    """A reader has kept commands that the stream does not have: it is another one. It has taken nothing of it."""

    def __init__(self, reader: str, kept: int, last: int) -> None:
        super().__init__(reader, kept, last)
        self.reader = reader
        self.kept = kept
        self.last = last

    def __str__(self) -> str:
        return (
            f"{self.reader}: it has kept commands up to {self.kept}, and the stream ends at {self.last}: nothing of it "
            "was taken: give the reader the stream that it has read, or begin with an empty database"
        )


class UnknownBookError(BackendError, code="exchange.unknown-book"):
    """A trade is in a book of which nobody knows what a lot is worth. Nothing of it was told."""

    def __init__(self, book: int, sequence: int) -> None:
        super().__init__(book, sequence)
        self.book = book
        self.sequence = sequence

    def __str__(self) -> str:
        return (
            f"command {self.sequence} traded in book {self.book}, whose opening was never read: it was not told: "
            "read the stream from its beginning"
        )
