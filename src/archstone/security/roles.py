"""What roles may do, whose a thing is, and who is told of those who were refused.

    CUSTOMER = Role("customer", may=("orders:place", "orders:read"))
    SUPPORT = Role("support", may=("orders:read-any",), above=(CUSTOMER,))
    ROLES = Roles(CUSTOMER, SUPPORT)
    OWN_ORDER = Rule("own order", lambda principal, customer: principal.id == customer, unless="orders:read-any")

    guard = ROLES.guard(on_denied=audit)

    @guard.require("orders:read-any")
    async def all_orders() -> list[Order]: ...

Promise: what is not granted is refused. A role that the table does not know grants nothing. A check costs two look-ups
in memory. Each refusal is told to `on_denied`, which may fail without turning it into a permission or another error.
Not for: conditions on the time of day, places or amounts; a rule sees a principal and a row, and nothing else.

Source: Sandhu et al. 1996, RBAC1: roles with a hierarchy. A permission cannot be taken away again further up.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from types import MappingProxyType
from typing import Any, Final, Generic, Protocol, TypeVar, cast

from archstone import context
from archstone.context import SIGNED_IN, Denied, Principal
from archstone.errors import ConfigError, ForbiddenError, NotSignedInError
from archstone.observability import counter, get_logger

__all__ = ["SERVICE", "Guard", "Role", "Roles", "Rule", "tell_log"]

Row = TypeVar("Row")
Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_PERMISSION: Final = re.compile(r"[a-z][a-z0-9-]*:[a-z][a-z0-9-]*")
_ROLE: Final = re.compile(r"[a-z][a-z0-9_-]*")
_COMBINATIONS: Final = 1_024
"""Sets of roles whose permissions are remembered; more are put together at each check."""

_log = get_logger("archstone.security")
_denials = counter("archstone_denied", "Refusals, by what was refused and why.", ("what", "why"))


@dataclass(frozen=True, slots=True)
class Role:
    """A name, and what its bearers may do."""

    name: str
    """Lower case letters, digits, dashes and underscores."""
    may: Iterable[str] = field(kw_only=True, default=())
    """Permissions, `area:action` in lower case. Members of a StrEnum do as well."""
    above: tuple["Role", ...] = field(kw_only=True, default=())
    """Roles whose permissions it has, too."""
    about: str = field(kw_only=True, default="")
    """One line for who reads the table."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "may", frozenset(str(each) for each in self.may))
        faults = [repr(each) for each in sorted(self.may) if not _PERMISSION.fullmatch(each)]
        if not _ROLE.fullmatch(self.name):
            raise ConfigError(f"role {self.name!r}: its name must be lower case letters, digits, - and _")
        if faults:
            raise ConfigError(f"role {self.name!r}: {', '.join(faults)}: write a permission as area:action")

    @property
    def permissions(self) -> frozenset[str]:
        """All that its bearers may do, by itself and by the roles below it."""
        return frozenset(self.may).union(*(each.permissions for each in self.above))


SERVICE: Final = Role("service", about="A service that acts by itself.")
"""What the framework calls its own services. In every table; declare another of this name to let services do more."""


@dataclass(frozen=True)  # no slots: `Rule[str](...)` notes its type on the instance
class Rule(Generic[Row]):
    """Whose a row is, by name, so that a refusal can say what was not theirs."""

    name: str
    """How a refusal calls it: `own order`."""
    theirs: Callable[[Principal, Row], bool]
    """Whether the row is the principal's. Not asked for somebody who is not signed in: nothing is theirs."""
    unless: str | None = field(kw_only=True, default=None)
    """The permission with which it need not hold, such as `orders:read-any`. None: it always must."""

    def holds(self, principal: Principal, row: Any, /) -> bool:
        """Return whether the row is theirs."""
        return principal.signed_in and self.theirs(principal, row)


class _AnyRule(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def unless(self) -> str | None: ...
    def holds(self, principal: Principal, row: object, /) -> bool: ...


def tell_log(denied: Denied) -> None:
    """Write a refusal of somebody who is signed in to the log, without anything that was sent. By default guards do.

    Those of strangers are counted only (`archstone_denied`), or strangers could fill the log.
    """
    if not denied.principal.signed_in:
        return
    _log.info(
        "denied", what=denied.what, requires=denied.requires, why=denied.why, principal=denied.principal.id,
        row=denied.row, correlation_id=denied.correlation_id,
    )  # fmt: skip


class Roles:
    """A table of roles. A value: what is told of refusals, a guard of it does."""

    def __init__(self, *roles: Role) -> None:
        """Put roles together, those below them included.

        Raises:
            ConfigError: Two different roles have one name.
        """
        known: dict[str, Role] = {}
        twice = [role.name for role in _with_below(roles) if known.setdefault(role.name, role) != role]
        if twice:
            raise ConfigError(f"roles: two roles are named {', two '.join(map(repr, twice))}: rename one")
        known.setdefault(SERVICE.name, SERVICE)
        self._roles = known
        self._own = {name: role.permissions | {name} for name, role in known.items()}
        self._granted: dict[frozenset[str], frozenset[str]] = {}

    @property
    def roles(self) -> Mapping[str, Role]:
        """Every role by name, in the order of their declaration, those below before those above."""
        return MappingProxyType(self._roles)

    def granted(self, names: frozenset[str]) -> frozenset[str]:
        """Return all that the bearer of these roles may do, and the names of the roles. Unknown ones grant nothing."""
        found = self._granted.get(names)
        if found is None:
            found = frozenset[str]().union(*(self._own.get(name, ()) for name in names))
            if len(self._granted) < _COMBINATIONS:
                self._granted[names] = found
        return found

    def holders(self, requires: str) -> tuple[str, ...]:
        """Return the roles that have a permission; of a role, itself. Empty: none has."""
        return tuple(name for name, granted in self._own.items() if requires in granted)

    def guard(
        self,
        *,
        on_denied: Callable[[Denied], None] = tell_log,
        who: Callable[[], Principal] | None = None,
    ) -> "Guard":
        """Return what decides by this table.

        Args:
            on_denied: Is told of each refusal, on the spot: it must not wait. What it raises is logged.
            who: Says who asks, for decorated functions. None: the principal of the running call, `context.current()`.
        """
        return Guard(self, on_denied=on_denied, who=who or _caller)

    def __repr__(self) -> str:
        return f"<roles {', '.join(self._roles)}>"


class Guard:
    """Refuses those who may not, and tells of it. An `Access` of `archstone.services`; alone it guards functions."""

    __slots__ = ("_granted", "_roles", "_tell", "_who")

    def __init__(self, roles: Roles, *, on_denied: Callable[[Denied], None], who: Callable[[], Principal]) -> None:
        self._roles = roles
        self._granted = roles.granted
        self._tell = on_denied
        self._who = who

    def may(self, requires: str, principal: Principal) -> bool:
        """Return whether a principal has a permission. Nobody is told: for what a page shows, say."""
        return principal.signed_in and requires in self._granted(principal.roles)

    def check(self, what: str, requires: str, principal: Principal) -> None:
        """Refuse who has not the permission.

        Args:
            what: What is asked for, as a refusal calls it.
            requires: A permission, the name of a role, or `SIGNED_IN`.
            principal: Who asks.

        Raises:
            NotSignedInError: Nobody is signed in.
            ForbiddenError: They may not.
        """
        if not principal.id:
            self.tell(Denied(what, requires, principal, "not signed in"))
            raise NotSignedInError(what)
        if requires not in self._granted(principal.roles) and requires != SIGNED_IN:
            self.tell(Denied(what, requires, principal, "no permission"))
            raise ForbiddenError(what, requires)

    def allows(self, what: str, rule: _AnyRule, row: object, principal: Principal, *, name: str) -> bool:
        """Return whether a row may be touched; if not, tell of it by its name. The caller decides what is answered."""
        if rule.holds(principal, row) or (rule.unless is not None and self.may(rule.unless, principal)):
            return True
        self.tell(Denied(what, rule.name, principal, "not theirs", name))
        return False

    def require(self, permission: str) -> Callable[[Decorated], Decorated]:
        """Return a decorator that refuses who has not the permission, before the function is entered.

        For plain and coroutine functions: handlers of FastAPI and Flask too, below the decorator of the route.

        Raises:
            ConfigError: No role has the permission.
        """
        if permission != SIGNED_IN and not self._roles.holders(permission):
            raise ConfigError(f"require({permission!r}): no role has it; there are {', '.join(self._known())}")

        def decorate(function: Decorated) -> Decorated:
            what = f"{function.__module__}.{function.__qualname__}"
            return cast("Decorated", self._guarded(function, what, permission))

        return decorate

    def _guarded(self, function: Callable[..., Any], what: str, permission: str) -> Callable[..., Any]:
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def later(*args: Any, **kwargs: Any) -> Any:
                self.check(what, permission, self._who())
                return await function(*args, **kwargs)

            return later
        if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
            raise ConfigError(f"{what}: a generator runs after the check: guard who makes it")

        @wraps(function)
        def now(*args: Any, **kwargs: Any) -> Any:
            self.check(what, permission, self._who())
            return function(*args, **kwargs)

        return now

    def _known(self) -> list[str]:
        return sorted(frozenset[str]().union(*(role.permissions for role in self._roles.roles.values())))

    def tell(self, denied: Denied, /) -> None:
        """Count a refusal and tell of it; also one that somebody else has decided."""
        denied = denied._replace(correlation_id=context.current().correlation_id)
        _denials.labels(denied.what, denied.why).inc()
        try:
            self._tell(denied)
        except Exception as error:  # noqa: BLE001 - who keeps watch may fail; the refusal stands
            _log.error("a refusal could not be told of", what=denied.what, why=denied.why, exc_info=error)


def _caller() -> Principal:
    return context.current().principal


def _with_below(roles: Iterable[Role]) -> Iterable[Role]:
    for role in roles:
        yield from _with_below(role.above)
        yield role
