"""Where the shop is reached from outside: what links in mails begin with."""

from dataclasses import dataclass

__all__ = ["Site"]


@dataclass(frozen=True, slots=True)
class Site:
    """The address of the shop's pages. Never taken from a request: whoever sends one could name another host."""

    url: str
    """`https://shop.example.com`, without a slash at its end."""
