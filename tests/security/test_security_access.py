"""Operations that are open to anybody."""

from archstone.context import ANYONE, NOBODY, Principal
from archstone.services import (
    Contract,
    check_allowed,
    operations,
    query,
)


def test_open_operations_ask_nobody() -> None:
    class Silent:
        def check(self, what: str, requires: str, principal: Principal) -> None:
            raise AssertionError("asked")

    class Open(Contract, version="1.0"):
        @query("/open", public=True, requires=ANYONE)
        async def open(self) -> str: ...

    check_allowed(operations(Open)[0], NOBODY, Silent())  # type: ignore[arg-type]
