"""The port of who enters orders, and how long a connection stands for them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from archstone.errors import DeniedError
from archstone.observability import get_logger

__all__ = ["ASK_AGAIN_S", "Identify", "until_denied"]

Identify = Callable[[str], Awaitable[int]]
"""Returns the account that a credential stands for: an API key, or a token; above 0.

DeniedError: it stands for none, or not any more.
"""
ASK_AGAIN_S: Final = 30.0
"""Seconds between two looks at whether the credential of a connection is still good."""
_log: Final = get_logger("archstone.systems.exchange")


async def until_denied(identify: Identify, credential: str, account: int) -> None:
    """Return when a credential stands for an account no more, at most `ASK_AGAIN_S` later: revoked, or run out."""
    while True:
        await asyncio.sleep(ASK_AGAIN_S)
        try:
            if await identify(credential) != account:
                return
        except DeniedError:
            return
        except Exception as error:  # noqa: BLE001 - who cannot be asked has not said no
            _log.warning("whether a credential is still good is not known", account=account, error=error)
