"""schemathesis over the shop's own `/openapi.json`: no failure of the server, nothing that the document does not say.

No operation is excluded, all checks are on, and each operation gets at least 200 examples (one without parameters can
be asked in a few ways only), as a customer and as an administrator.

What is allowed beyond the checks' own ideas, and why (`positive_data_acceptance`: "what fits the schema is accepted"):

- 422 everywhere: the issue wants a key that comes back with other arguments refused, which no schema can say.
- 400 where a cursor is taken: cursors are opaque, and one that the shop has not made is refused.
- 400 where a moment is taken: RFC 3339 has leap seconds, which no clock of ours shows.
- 400 where an address is taken: what could receive mail is narrower than `format: email` (reserved domains).
"""

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest
from shop_database import faults_in
from shop_http import API, Person, at_rest, make_admin, new_person, served_shop, skus
from shop_process import ShopProcess

from archstone.systems.shop.system import shop as system

pytestmark = [
    pytest.mark.slow,
    pytest.mark.sqlite_only("minutes, most of them of the one who makes up examples; bad input is tried on both"),
]

EXAMPLES = 200
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
    f"POST {API}/roles",
    f"DELETE {API}/roles/{{role}}/{{email}}",
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
    for operation in OPAQUE:
        lines += ["[[operations]]", f'include-name = "{operation}"']
        lines += ["[operations.checks.positive_data_acceptance]", f'expected-statuses = [{ALLOWED}, "400"]']
    return "\n".join(lines)


def known_things(http: httpx.Client, person: Person) -> dict[str, list[str]]:
    names = skus(http, 5)
    orders = [person.buy((sku, 1), token=token) for sku, token in zip(names, ("tok_ok", "tok_declined"), strict=False)]
    for order_id in orders:
        person.settled(order_id)
    spare = new_person(http, name="spare")
    cards = ["tok_ok", "tok_declined", "tok_flaky"]
    return {"orders": orders, "users": [person.user_id], "skus": names, "emails": [spare.email], "cards": cards}


def fuzz(
    shop: ShopProcess, person: Person, report: Path, known: dict[str, list[str]], *, only: Sequence[str] = ()
) -> Counter[str]:
    """Ask all operations, or only some; return how many requests each got, beside those of whole scenarios."""
    folder = report.parent
    (folder / "schemathesis.toml").write_text(configuration(known), encoding="utf-8")
    seed = f"{os.environ.get('ARCHSTONE_SEED', '1')}{report.stem.removeprefix('report')}"
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(folder / "schemathesis.toml")),
        *("run", f"{shop.url}/openapi.json", "--header", f"Authorization: Bearer {person.access_token}"),
        *("--max-examples", str(EXAMPLES), "--checks", "all", "--continue-on-failure", "--seed", seed),
        *("--report", "ndjson", "--report-ndjson-path", str(report)),
        *("--warnings", "off", "--suppress-health-check", "all", "--no-color"),
        *(word for name in only for word in ("--include-name", name)),
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{done.stdout[-20_000:]}\n{done.stderr[-5_000:]}"
    return examples(report)


@pytest.mark.longest
@pytest.mark.parametrize("role", ["customer", "admin"])
def test_schemathesis_finds_no_server_error_and_no_schema_violation(tmp_path: Path, role: str) -> None:
    with served_shop(tmp_path / "shop") as shop, httpx.Client(base_url=shop.url, timeout=30) as http:
        person = new_person(http)
        if role == "admin":
            make_admin(shop, person)
        known = known_things(http, person)
        counted = fuzz(shop, person, tmp_path / "report.ndjson", known)
        for more in range(MORE):
            # Where half of the ids are of few known things, the search for new examples may believe itself at its end.
            if few := [name for name in varied() if counted[name] < EXAMPLES]:
                counted += fuzz(shop, person, tmp_path / f"report{more}.ndjson", known, only=few)
        few = [name for name in varied() if counted[name] < EXAMPLES]
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


def examples(report: Path) -> Counter[str]:
    """Return how many requests each operation got, beside those of whole scenarios."""
    counted: Counter[str] = Counter()
    for line in report.read_text(encoding="utf-8").splitlines():
        scenario = json.loads(line).get("ScenarioFinished")
        if scenario is not None and scenario["phase"] != "stateful":
            counted[scenario["recorder"]["label"]] += len(scenario["recorder"].get("cases", ()))
    return counted


def test_the_document_that_is_fuzzed_names_every_public_operation(tmp_path: Path) -> None:
    with served_shop(tmp_path / "shop") as shop:
        paths = asyncio.run(document(shop))["paths"]
    told = {operation["operationId"] for methods in paths.values() for operation in methods.values()}
    assert told == {operation.full_name for operation in system.operations if operation.public}


async def document(shop: ShopProcess) -> dict[str, dict[str, dict[str, dict[str, str]]]]:
    async with httpx.AsyncClient(base_url=shop.url) as http:
        return dict((await http.get("/openapi.json")).json())
