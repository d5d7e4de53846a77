"""Attacks on who may do what: forgotten declarations, invented roles, other people's rows, ways around a check."""

import pytest
from attack_stage import caught, caught_later

from archstone.context import NOBODY, Denied, Principal
from archstone.data import Database
from archstone.errors import ConfigError, ForbiddenError, NotSignedInError
from archstone.gateway import Gateway, GatewayParts
from archstone.security import Role, Roles, Rule
from archstone.services import (
    Contract,
    Dispatcher,
    InProcess,
    Service,
    System,
    check_allowed,
    client,
    operations,
    query,
)

READER = Role("reader", may=("notes:read",))
EDITOR = Role("editor", may=("notes:write",), above=(READER,))
ROLES = Roles(READER, EDITOR)
ANN = Principal("ann", frozenset({"reader"}))


class Notes(Contract, version="1.0"):
    @query("/notes/{owner}", public=True, requires="notes:read")
    async def note(self, owner: str) -> str: ...


class Forgotten(Contract, version="1.0"):
    @query("/forgotten", public=True)
    async def forgotten(self) -> str: ...


class Misspelt(Contract, version="1.0"):
    @query("/misspelt", public=True, requires="notes:raed")
    async def misspelt(self) -> str: ...


OWN = Rule[str]("own note", lambda who, owner: who.id == owner, unless="notes:write")


class NotesService(Service, Notes):
    async def note(self, owner: str) -> str:
        return f"{owner}'s" if self.allows(OWN, owner, name=owner) else "none"


class ForgottenService(Service, Forgotten):
    async def forgotten(self) -> str:
        return "secret"


class MisspeltService(Service, Misspelt):
    async def misspelt(self) -> str:
        return "secret"


def test_attack_an_operation_that_somebody_forgot_to_guard() -> None:
    with pytest.raises(ConfigError, match=r"Forgotten\.forgotten: public, and nothing says who may call it"):
        System("s", services=[ForgottenService], gateway=Gateway())
    (operation,) = operations(Forgotten)
    with pytest.raises(ConfigError, match=r"Forgotten\.forgotten"):
        Gateway().build(GatewayParts(routes=[(operation, InProcess())]))

    def check(access: object) -> None:
        for who in (NOBODY, ANN, Principal("root", frozenset({"reader", "editor", "service", "admin", ""}))):
            with pytest.raises((ForbiddenError, NotSignedInError)):
                check_allowed(operation, who, access)  # type: ignore[arg-type]

    class OpenByDefault:
        def check(self, what: str, requires: str, principal: Principal) -> None:
            if requires and requires not in principal.roles:
                raise ForbiddenError(what, requires)

    check(ROLES.guard())
    caught(lambda: check(OpenByDefault()))


def test_attack_a_misspelt_permission_that_nobody_checks() -> None:
    def check(roles: Roles | None) -> None:
        with pytest.raises(ConfigError, match=r"Misspelt\.misspelt requires 'notes:raed', which no role has"):
            System("s", services=[MisspeltService], roles=roles)

    check(ROLES)
    caught(lambda: check(None))  # weak: nobody knows which permissions there are


def test_attack_a_role_that_was_made_up() -> None:
    def check(granted: object) -> None:
        for made_up in ("root", "EDITOR", "editor ", "notes:write", "editor\0", "", "anyone", "signed-in"):
            assert "notes:write" not in granted(frozenset({made_up}))  # type: ignore[operator]

    check(ROLES.granted)
    # Weak: what a token calls a role is a permission as well.
    caught(lambda: check(lambda names: {*ROLES.granted(names), *names}))


def test_attack_going_up_the_ladder() -> None:
    """A role has what is below it, never what is above."""

    def check(roles: Roles) -> None:
        for more in ("notes:write", "editor"):
            with pytest.raises(ForbiddenError):
                roles.guard().check("write", more, ANN)

    check(ROLES)
    # Weak: upside down, the reader stands above the editor.
    upside_down = Role("reader", may=("notes:read",), above=(Role("editor", may=("notes:write",)),))
    caught(lambda: check(Roles(upside_down, Role("editor", may=("notes:write",)))))


async def test_attack_somebody_elses_row() -> None:
    told: list[Denied] = []

    async def check(access: object) -> None:
        service = NotesService(db=Database("sqlite:///never-opened.db"))
        notes = client(Notes, InProcess(Dispatcher(service, access=access), as_=ANN))  # type: ignore[arg-type]
        assert await notes.note("ann") == "ann's"
        assert await notes.note("bob") == "none"

    class RoleIsEnough:
        """Weak: who may read notes may read all notes."""

        def check(self, what: str, requires: str, principal: Principal) -> None: ...

        def allows(self, what: str, rule: object, row: object, principal: Principal, *, name: str) -> bool:
            return True

    await check(ROLES.guard(on_denied=told.append))
    assert [(each.why, each.row, each.principal.id) for each in told] == [("not theirs", "bob", "ann")]
    with pytest.raises(AssertionError):
        await check(RoleIsEnough())


def test_attack_nobody_owns_what_has_no_owner() -> None:
    """A row whose owner is empty is not that of somebody who has not signed in, whose id is empty, too."""

    def check(holds: object) -> None:
        assert not holds(NOBODY, "")  # type: ignore[operator]

    check(OWN.holds)
    caught(lambda: check(OWN.theirs))


async def test_attack_past_the_gateway_to_the_service() -> None:
    async def check(access: object) -> None:
        service = NotesService(db=Database("sqlite:///never-opened.db"))
        dispatcher = Dispatcher(service, access=access)  # type: ignore[arg-type]
        with pytest.raises(NotSignedInError):
            await client(Notes, InProcess(dispatcher, as_=NOBODY)).note("ann")
        with pytest.raises(ForbiddenError):
            await client(Notes, InProcess(dispatcher, as_=Principal("eve", frozenset({"visitor"})))).note("eve")

    class AtTheGatewayAlone:
        """Weak: the service believes that somebody has looked."""

        def check(self, what: str, requires: str, principal: Principal) -> None: ...

        def allows(self, what: str, rule: object, row: object, principal: Principal, *, name: str) -> bool:
            return True

    await check(ROLES.guard())
    await caught_later(lambda: check(AtTheGatewayAlone()))


def test_attack_flooding_memory_with_sets_of_roles(monkeypatch: pytest.MonkeyPatch) -> None:
    def check() -> None:
        roles = Roles(READER)
        for number in range(5_000):
            roles.granted(frozenset({f"r{number}"}))
        assert roles.granted(frozenset({"reader", "r9999"})) == {"reader", "notes:read"}
        assert len(roles._granted) <= 1_024

    check()
    monkeypatch.setattr("archstone.security.roles._COMBINATIONS", 10**9)  # weak: all are remembered
    caught(check)
