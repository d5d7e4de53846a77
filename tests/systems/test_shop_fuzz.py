"""schemathesis over the shop's own `/openapi.json`: no failure of the server, nothing that the document does not say.

No operation is excluded, all checks are on, and each operation gets at least 200 examples (one without parameters can
be asked in a few ways only): 100 or more as a customer, and as many others as an administrator.

What is allowed beyond the checks' own ideas, and why (`positive_data_acceptance`: "what fits the schema is accepted"):

- 422 everywhere: the issue wants a key that comes back with other arguments refused, which no schema can say.
- 400 where a cursor is taken: cursors are opaque, and one that the shop has not made is refused.
- 400 where a moment is taken: RFC 3339 has leap seconds, which no clock of ours shows.
- 400 where an address is taken: what could receive mail is narrower than `format: email` (reserved domains).
- 429 where a password or a code is tried: whoever guesses is slowed down.
"""

import asyncio
import json
import os
from functools import partial
from pathlib import Path

import httpx
import pytest
from fuzzing import fuzz
from shop_database import faults_in
from shop_http import API, Person, at_rest, make_admin, new_person, served_shop, skus
from shop_process import ShopProcess

from archstone.systems.shop.system import shop as system

pytestmark = [
    pytest.mark.slow,
    pytest.mark.sqlite_only("minutes, most of them of the one who makes up examples; bad input is tried on both"),
]

EXAMPLES = 200
SEEDS = {"customer": 1, "admin": 2}
"""By role, so that each asks something else."""
MORE = 5
"""Further runs, with other seeds, for operations that got fewer."""
ALLOWED = '"2xx", "3xx", "401", "403", "404", "409", "422"'
OPAQUE = (
    f"GET {API}/products",
    f"GET {API}/users",
    f"GET {API}/users/{{user_id}}/orders",
    f"GET {API}/users/me/orders",
    f"GET {API}/users/{{user_id}}/changes",
    f"GET {API}/orders",
    f"GET {API}/stock",
    f"GET {API}/stock/{{sku}}/corrections",
    f"GET {API}/products/{{sku}}/changes",
    f"GET {API}/retired-products",
    f"GET {API}/analytics/minutes",
    f"POST {API}/users",
    f"POST {API}/sessions",
    f"POST {API}/password-resets",
    f"POST {API}/roles",
    f"DELETE {API}/roles/{{role}}/{{email}}",
)
TRIED = (
    f"POST {API}/sessions",
    f"POST {API}/sessions/second-factor",
    f"POST {API}/password-resets/done",
    f"POST {API}/users/me/proofs",
    f"PUT {API}/users/me/password",
    f"POST {API}/users/me/deletion",
    f"POST {API}/users/me/totp",
)


def configuration(known: dict[str, list[str]]) -> str:
    """Return a configuration in which half of all ids are those of things that exist, so that they are found."""
    lines = ["[checks.positive_data_acceptance]", f"expected-statuses = [{ALLOWED}]"]
    for name, values in known.items():
        lines += [f"[dictionaries.{name}]", f"values = {json.dumps(values)}"]
    lines.append("[parameters]")
    places = {
        "path.order_id": "orders",
        "path.user_id": "users",
        "path.sku": "skus",
        "body.lines[*].sku": "skus",
        "path.email": "emails",
        "body.payment_token": "cards",
    }
    lines += [f'"{place}" = {{ dictionary = "{name}", probability = 0.5 }}' for place, name in places.items()]
    for operation in sorted({*OPAQUE, *TRIED}):
        more = [', "400"'] * (operation in OPAQUE) + [', "429"'] * (operation in TRIED)
        lines += ["[[operations]]", f'include-name = "{operation}"']
        lines += ["[operations.checks.positive_data_acceptance]", f"expected-statuses = [{ALLOWED}{''.join(more)}]"]
    return "\n".join(lines)


def known_things(http: httpx.Client, person: Person) -> dict[str, list[str]]:
    names = skus(http, 5)
    orders = [person.buy((sku, 1), token=token) for sku, token in zip(names, ("tok_ok", "tok_declined"), strict=False)]
    for order_id in orders:
        person.settled(order_id)
    spare = new_person(http, name="spare")
    cards = ["tok_ok", "tok_declined", "tok_flaky"]
    return {"orders": orders, "users": [person.user_id], "skus": names, "emails": [spare.email], "cards": cards}


@pytest.mark.longest
@pytest.mark.parametrize("role", SEEDS)
def test_schemathesis_finds_no_server_error_and_no_schema_violation(tmp_path: Path, role: str) -> None:
    share = EXAMPLES // len(SEEDS)
    with served_shop(tmp_path / "shop") as shop, httpx.Client(base_url=shop.url, timeout=30) as http:
        person = new_person(http)
        if role == "admin":
            make_admin(shop, person)
        (tmp_path / "schemathesis.toml").write_text(configuration(known_things(http, person)), encoding="utf-8")
        ask = partial(fuzz, shop.url, token=person.access_token, folder=tmp_path, examples=share)
        seed = 100 * int(os.environ.get("ARCHSTONE_SEED", "1")) + 10 * SEEDS[role]
        counted = ask(seed=seed)
        for more in range(1, MORE + 1):
            # Where half of the ids are of few known things, the search for new examples may believe itself at its end.
            if few := [name for name in varied() if counted[name] < share]:
                only = [word for name in few for word in ("--include-name", name)]
                counted += ask("--phases", "fuzzing", *only, seed=seed + more)
        few = [name for name in varied() if counted[name] < share]
        assert few == [], "an operation was excluded, or got fewer examples than asked for"
        assert http.get("/health/ready").status_code == 200
        at_rest(shop, within_s=120)
        log = shop.log.read_text()
    assert '"level":"error"' not in log, shop.log_tail()
    assert faults_in(shop.data) == []


def varied() -> list[str]:
    """Return the public operations that can be asked in more than one way."""
    public = [operation for operation in system.operations if operation.public]
    return [f"{each.method} {API}{each.path}" for each in public if each.parameters]


def test_the_document_that_is_fuzzed_names_every_public_operation(tmp_path: Path) -> None:
    with served_shop(tmp_path / "shop") as shop:
        paths = asyncio.run(document(shop))["paths"]
    told = {operation["operationId"] for methods in paths.values() for operation in methods.values()}
    assert told == {operation.full_name for operation in system.operations if operation.public}


async def document(shop: ShopProcess) -> dict[str, dict[str, dict[str, dict[str, str]]]]:
    async with httpx.AsyncClient(base_url=shop.url) as http:
        return dict((await http.get("/openapi.json")).json())
