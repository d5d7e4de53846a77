"""The port of who enters orders."""

from collections.abc import Awaitable, Callable

__all__ = ["Identify"]

Identify = Callable[[str], Awaitable[int]]
"""Returns the account that a credential stands for: an API key, or a token; above 0.

DeniedError: it stands for none, or not any more.
"""
