"""What it costs to ask whether somebody may: by the table of roles, beside casbin and the guide's own code."""

from benchmarks.harness import Bench, Row, nanoseconds_per_call

bench = Bench(
    "permissions",
    shows="the cost of a check that passes, for a principal with one role of three above each other and 30 permissions",
    hides="refusals, which are told to somebody, and reading whose a row is, which is a question to a database",
)

AREAS = ("orders", "users", "stock", "catalog", "carts")
ACTIONS = ("read", "write", "list", "close", "export", "audit")


@bench.contender("archstone")
def archstone_check(quick: bool) -> float:
    from archstone.context import Principal
    from archstone.security import Role, Roles

    customer = Role("customer", may=[f"{area}:read" for area in AREAS])
    support = Role("support", may=[f"{area}:{action}" for area in AREAS for action in ACTIONS[1:4]], above=(customer,))
    admin = Role("admin", may=[f"{area}:{action}" for area in AREAS for action in ACTIONS[4:]], above=(support,))
    guard = Roles(customer, support, admin).guard()
    # Each request has a principal of its own, as a token gives it.
    principals = [Principal(f"user-{number}", frozenset(["admin"])) for number in range(1000)]

    def run(count: int) -> None:
        check = guard.check
        for number in range(count):
            check("Orders.order", "orders:read", principals[number % 1000])

    return nanoseconds_per_call(run, quick=quick)


@bench.contender("casbin")
def casbin_enforce(quick: bool) -> float:
    import casbin

    model = casbin.Enforcer.new_model(
        text="[request_definition]\nr = sub, obj, act\n[policy_definition]\np = sub, obj, act\n"
        "[role_definition]\ng = _, _\n[policy_effect]\ne = some(where (p.eft == allow))\n"
        "[matchers]\nm = g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act\n"
    )
    enforcer = casbin.FastEnforcer(model) if hasattr(casbin, "FastEnforcer") else casbin.Enforcer(model)
    for area in AREAS:
        enforcer.add_policy("customer", area, "read")
        for action in ACTIONS[1:4]:
            enforcer.add_policy("support", area, action)
        for action in ACTIONS[4:]:
            enforcer.add_policy("admin", area, action)
    enforcer.add_grouping_policy("admin", "support")
    enforcer.add_grouping_policy("support", "customer")
    assert enforcer.enforce("admin", "orders", "read")
    assert not enforcer.enforce("customer", "orders", "write")

    def run(count: int) -> None:
        for _ in range(count):
            enforcer.enforce("admin", "orders", "read")

    return nanoseconds_per_call(run, quick=quick)


@bench.contender()
def the_guide(quick: bool) -> float:
    from enum import Enum

    permission = Enum(
        "Permission", {f"{area}_{action}".upper(): f"{action}:{area}" for area in AREAS for action in ACTIONS}
    )
    role = Enum("Role", {"ADMIN": "admin", "CUSTOMER": "customer"})
    table = {role.ADMIN: list(permission), role.CUSTOMER: list(permission)[:5]}

    def has_permission(user_roles: list[str], required: object) -> bool:
        found: set[object] = set()
        for each in user_roles:
            found.update(table.get(role(each), []))
        return required in found

    def run(count: int) -> None:
        for _ in range(count):
            has_permission(["admin"], permission.ORDERS_READ)

    return nanoseconds_per_call(run, quick=quick)


@bench.contender()
def floor(quick: bool) -> float:
    roles, table = frozenset(["admin"]), {frozenset(["admin"]): frozenset(["orders:read"])}

    def run(count: int) -> None:
        for _ in range(count):
            if "orders:read" not in table[roles]:
                raise PermissionError

    return nanoseconds_per_call(run, quick=quick)


bench.row(
    Row("permission check", "ns/call", goal=10.0),
    ours="archstone_check",
    peers=["casbin_enforce"],
    beside=["the_guide", "floor"],
)
bench.row(Row("permission check, figure", "ns/call", goal=1000), ours="archstone_check")

if __name__ == "__main__":
    bench.main()
