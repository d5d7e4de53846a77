"""API keys, with a database of their own, and whom the front door believes because of them."""

from types import TracebackType
from typing import Any, Final, Self

from archstone.context import Principal
from archstone.data import Database
from archstone.gateway import Verify
from archstone.security import ApiKeys, SigningKeys

__all__ = ["Programs"]

_PREFIX: Final = "ask_"
_ROLES: Final = frozenset({"trader"})
"""What a program is, whoever made its key: what an administrator may do, one does oneself."""


class Programs:
    """Opened before the first service and closed after the last one."""

    def __init__(self, db: Database, *, pepper: SigningKeys) -> None:
        """Take what it needs; nothing is read or written.

        Args:
            db: Its own database.
            pepper: What the keys are hashed with.
        """
        self.db = db
        self.keys = ApiKeys(db, pepper=pepper)

    async def __aenter__(self) -> Self:
        await self.db.__aenter__()
        try:
            await self.keys.__aenter__()
        except BaseException:
            await self.db.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        try:
            await self.keys.__aexit__(kind, error, where)
        finally:
            await self.db.__aexit__(kind, error, where)

    def verify(self, otherwise: Verify) -> Verify:
        """Return whom the front door believes: API keys, and `otherwise` tokens."""

        def verify(text: str) -> Any:
            return self._by_key(text) if text.startswith(_PREFIX) else otherwise(text)

        return verify

    async def _by_key(self, text: str) -> Principal:
        return (await self.keys.verify(text)).principal(_ROLES)
