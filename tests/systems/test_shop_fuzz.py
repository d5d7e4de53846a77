"""schemathesis over the shop's own `/openapi.json`: no failure of the server, nothing that the document does not say.

No operation is excluded, all checks are on, and each operation gets at least 200 examples (one without parameters can
be asked in a few ways only): a share as somebody who is not signed in, as a customer, as another customer who knows the
ids of what the first one has, and as an administrator. Whole scenarios and limits of the schemas are asked as customer
and administrator. Nobody reads or changes what is not theirs: what the first customer has is the same before and after,
and no answer to others holds a text of hers.

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
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from fuzzing import fuzz
from shop_database import faults_in
from shop_http import API, Person, at_rest, make_admin, new_key, new_person, order_body, served_shop, skus
from shop_process import PASSWORD, ShopProcess

from archstone.systems.shop.system import shop as system

pytestmark = [
    pytest.mark.slow,
    pytest.mark.sqlite_only("minutes, most of them of the one who makes up examples; bad input is tried on both"),
]

SHARES = {"anonymous": 20, "customer": 60, "other customer": 60, "admin": 60}
"""Examples for each operation, by role. Of a role the place in this table is part of its seed."""
SPARES = 5
UNSEEN = ("Quintessa Hollowbrook", "77 Hidden Stair")
"""Name and street that only one customer has."""
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
    f"POST {API}/users/me/email-changes",
    f"POST {API}/sign-ups",
    f"POST {API}/roles",
    f"POST {API}/roles/withdrawals",
)
TRIED = (
    f"POST {API}/sessions",
    f"POST {API}/sessions/second-factor",
    f"POST {API}/password-resets/done",
    f"POST {API}/users/me/email-changes",
    f"POST {API}/email-changes/undone",
    f"POST {API}/sign-ups",
    f"POST {API}/users/me/proofs",
    f"PUT {API}/users/me/password",
    f"POST {API}/users/me/deletion",
    f"POST {API}/users/me/totp",
)


def configuration(known: dict[str, list[str]]) -> str:
    """Return a configuration in which half of all ids are those of things that exist, so that they are found.

    Ids are not taken from answers besides: what schemathesis draws then changes from one example to the next (an id
    that was deleted is drawn no more), and Hypothesis, which sees other choices after the same beginning, ends early.
    """
    lines = [
        "[phases.fuzzing.extra-data-sources]",
        "responses = false",
        "[checks.positive_data_acceptance]",
        f"expected-statuses = [{ALLOWED}]",
    ]
    for name, values in known.items():
        lines += [f"[dictionaries.{name}]", f"values = {json.dumps(values)}"]
    lines.append("[parameters]")
    places = {
        "path.order_id": "orders",
        "path.user_id": "users",
        "path.sku": "skus",
        "body.lines[*].sku": "skus",
        "body.payment_token": "cards",
    }
    lines += [f'"{place}" = {{ dictionary = "{name}", probability = 0.5 }}' for place, name in places.items()]
    for operation in sorted({*OPAQUE, *TRIED}):
        more = [', "400"'] * (operation in OPAQUE) + [', "429"'] * (operation in TRIED)
        lines += ["[[operations]]", f'include-name = "{operation}"']
        lines += ["[operations.checks.positive_data_acceptance]", f"expected-statuses = [{ALLOWED}{''.join(more)}]"]
    return "\n".join(lines)


def known_things(http: httpx.Client, person: Person, *more: Person) -> dict[str, list[str]]:
    """Return what exists and may be asked about: orders of all of them, and several accounts that are nobody's here.

    Several, since an administrator may close them; and not that of who asks, who would be signed out by it.
    """
    names = skus(http, 5)
    orders = [order_id for each in (person, *more) for order_id in bought(each, names)]
    spares = [new_person(http, name="spare") for _ in range(SPARES)]
    return {
        "orders": orders,
        "users": [*(each.user_id for each in more), *(each.user_id for each in spares)],
        "skus": names,
        "emails": [each.email for each in spares],
        "cards": ["tok_ok", "tok_declined", "tok_flaky"],
    }


def bought(person: Person, names: list[str]) -> list[str]:
    """Return an order of somebody that was confirmed, and one that was cancelled."""
    orders = [person.buy((sku, 1), token=token) for sku, token in zip(names, ("tok_ok", "tok_declined"), strict=False)]
    for order_id in orders:
        person.settled(order_id)
    return orders


def asked(ask: Callable[..., Counter[str]], role: str, *words: str) -> None:
    """Fuzz as somebody, until each operation has got its share."""
    share, seed = SHARES[role], 100 * int(os.environ.get("ARCHSTONE_SEED", "1")) + 10 * [*SHARES].index(role)
    counted = ask(*words, examples=share, seed=seed)
    for more in range(1, MORE + 1):
        if few := [name for name in varied() if counted[name] < share]:
            only = [word for name in few for word in ("--include-name", name)]
            counted += ask("--phases", "fuzzing", *only, examples=share, seed=seed + more)
    few = {name: counted[name] for name in varied() if counted[name] < share}
    assert few == {}, f"an operation was excluded, or got fewer than {share} examples"


@contextmanager
def fuzzed(folder: Path) -> Iterator[tuple[ShopProcess, httpx.Client]]:
    """Run a shop for the block, which then must be at rest, without an error, and its data without a fault."""
    with served_shop(folder / "shop") as shop, httpx.Client(base_url=shop.url, timeout=30) as http:
        yield shop, http
        assert http.get("/health/ready").status_code == 200
        at_rest(shop, within_s=120)
        log = shop.log.read_text()
    assert '"level":"error"' not in log, shop.log_tail()
    assert faults_in(shop.data) == []


@pytest.mark.longest
@pytest.mark.parametrize("role", ["customer", "admin"])
def test_schemathesis_finds_no_server_error_and_no_schema_violation(tmp_path: Path, role: str) -> None:
    with fuzzed(tmp_path) as (shop, http):
        person = new_person(http)
        if role == "admin":
            make_admin(shop, person)
        configure(tmp_path, known_things(http, person))
        asked(partial(fuzz, shop.url, token=person.access_token, folder=tmp_path), role)


@pytest.mark.longest
def test_who_fuzzes_as_a_stranger_or_as_another_customer_neither_reads_nor_changes_what_is_not_theirs(
    tmp_path: Path,
) -> None:
    with fuzzed(tmp_path) as (shop, http), httpx.Client(base_url=shop.url, timeout=30) as pages:
        pages.headers.update({"origin": shop.url, "sec-fetch-site": "same-origin"})
        ann, eve = new_person(http, name="ann"), new_person(http, name="eve")
        known = known_things(http, eve, ann)
        mine = belongings_made(ann, pages, known["skus"])
        before = belongings(ann, pages, mine)
        configure(tmp_path, known | {"orders": [*known["orders"], *mine.orders]})
        for role in ("anonymous", "other customer"):
            token = None if role == "anonymous" else eve.sign_in().access_token
            ask = partial(fuzz, shop.url, token=token, folder=tmp_path, unseen=[*UNSEEN, ann.email])
            asked(ask, role, "--phases", "fuzzing")
            assert belongings(ann, pages, mine) == before, role


@pytest.mark.parametrize(("system", "faulty"), [("shop", False), ("leaky_shop:shop", True)])
def test_what_the_fuzz_looks_for_is_found_where_it_was_planted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str, faulty: bool
) -> None:
    monkeypatch.chdir(Path(__file__).parents[1] / "support")  # where the faulty shop is found
    with (
        served_shop(tmp_path / "shop", system=system) as shop,
        httpx.Client(base_url=shop.url, timeout=30) as http,
        httpx.Client(base_url=shop.url, timeout=30) as pages,
    ):
        pages.headers.update({"origin": shop.url, "sec-fetch-site": "same-origin"})
        ann, eve = new_person(http, name="ann"), new_person(http, name="eve")
        names = skus(http, 2)
        mine = belongings_made(ann, pages, names)
        known = {
            "orders": [*mine.orders],
            "users": [ann.user_id],
            "skus": names,
            "emails": [ann.email],
            "cards": ["tok_ok"],
        }
        configure(tmp_path, known)
        token, unseen = eve.sign_in().access_token, [*UNSEEN, ann.email]
        ask = partial(fuzz, shop.url, "--phases", "fuzzing", "--include-name", token=token, folder=tmp_path)
        told = pytest.raises(AssertionError, match="somebody was told what is not theirs") if faulty else nullcontext()
        with told:
            ask(f"GET {API}/orders/{{order_id}}", unseen=unseen, examples=30, seed=1)
        before = belongings(ann, pages, mine)
        ask(f"POST {API}/orders/{{order_id}}/cancel", examples=30, seed=2)
        at_rest(shop, within_s=60)
        assert (belongings(ann, pages, mine) != before) == faulty


class Mine(NamedTuple):
    """What somebody has, besides what can be listed."""

    orders: tuple[str, ...]
    key: str


def belongings_made(person: Person, pages: httpx.Client, names: list[str]) -> Mine:
    """Let somebody have an order to an address of their own, a cart, preferences and an API key."""
    body = order_body((names[0], 1))
    body["address"] |= {"name": UNSEEN[0], "street": UNSEEN[1]}
    answer = person.send("POST", "/orders", key=new_key(), json=body)
    assert answer.status_code == 202, answer.text
    person.settled(answer.json()["id"])
    changes = (
        ("PUT", f"/carts/me/lines/{names[1]}", {"quantity": 2}),
        ("PATCH", "/users/me", {"name": UNSEEN[0]}),
        ("PUT", "/users/me/preferences", {"language": "de", "theme": "dark"}),
    )
    for method, path, said in changes:
        assert person.send(method, path, json=said).status_code == 200, path
    assert pages.post("/login", data={"email": person.email, "password": PASSWORD}).status_code == 303
    page = pages.post("/account/keys", data={"name": "export", "days": "30", "may-orders:read": "yes"})
    key = re.search(r"ask_[0-9A-Za-z]{44}", page.text)
    assert key is not None, page.text
    return Mine((answer.json()["id"],), key[0])


def belongings(person: Person, pages: httpx.Client, mine: Mine) -> dict[str, object]:
    """Return all that somebody can see of what is theirs, without what goes on by itself: parcels."""
    person.sign_in()  # a token ends after a quarter of an hour
    listed = person.get("/users/me/orders", params={"limit": 100}).json()["items"]
    found: dict[str, object] = {
        path: person.get(path).json() for path in ("/users/me", "/users/me/preferences", "/carts/me")
    }
    for order_id in sorted(each["id"] for each in listed):
        order = person.get(f"/orders/{order_id}").json()
        found[order_id] = {name: value for name, value in order.items() if name not in {"parcel", "timeline"}}
        found[f"invoice of {order_id}"] = person.get(f"/orders/{order_id}/invoice").json().get("number")
    assert set(mine.orders) <= found.keys()
    keys = pages.get("/account/keys")
    assert keys.status_code == 200
    found["keys"] = sorted(re.findall(r"/account/keys/\w+/\w+", keys.text))
    found["apps"] = pages.get("/oauth/apps").text
    with httpx.Client(base_url=pages.base_url, headers={"X-API-Key": mine.key}) as program:
        found["by key"] = [each["id"] for each in program.get(f"{API}/users/me/orders").json()["items"]]
    return found


def configure(folder: Path, known: dict[str, list[str]]) -> None:
    (folder / "schemathesis.toml").write_text(configuration(known), encoding="utf-8")


def test_each_operation_gets_two_hundred_examples_over_all_roles() -> None:
    assert sum(SHARES.values()) == 200


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
