"""How much pictures of elsewhere may take: bytes, pixels, time, places, room on disk."""

from dataclasses import dataclass

from archstone.resilience import check

__all__ = ["ImageBounds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBounds:
    """How much fetching, making and keeping pictures may take."""

    original_bytes: int = 8_000_000
    """Of a picture as it is fetched. Above 0."""
    pixels: int = 40_000_000
    """Of a picture as it is fetched, width times height. Above 0."""
    fetch_s: float = 5.0
    """Longest time for a fetch, redirects included. Above 0."""
    connect_s: float = 2.0
    """Of that, longest time until a host has taken a connection. Above 0."""
    fetches: int = 4
    """At once. At least 1."""
    waiting: int = 64
    """Pictures that wait beyond those. At least 0."""
    kept_bytes: int = 512_000_000
    """On disk, originals and small ones together. Above 0."""
    failed_s: float = 600.0
    """How long a picture that failed is not tried again. Above 0."""
    dead_s: float = 120.0
    """How long a host that cannot be had is not tried again. Above 0."""

    def __post_init__(self) -> None:
        check(
            self,
            original_bytes=(self.original_bytes > 0, "above 0"),
            pixels=(self.pixels > 0, "above 0"),
            fetch_s=(self.fetch_s > 0, "above 0"),
            connect_s=(self.connect_s > 0, "above 0"),
            fetches=(self.fetches >= 1, "at least 1"),
            waiting=(self.waiting >= 0, "at least 0"),
            kept_bytes=(self.kept_bytes > 0, "above 0"),
            failed_s=(self.failed_s > 0, "above 0"),
            dead_s=(self.dead_s > 0, "above 0"),
        )
