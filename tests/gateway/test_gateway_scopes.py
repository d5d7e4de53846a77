"""Programs that ask in somebody's name: what they were given, as whom the rest is done, and how a key comes in."""

import asyncio

import pytest
from gateway_subject import TOKENS, Door, Shop, header, problem_code

from archstone.context import NOBODY, Principal
from archstone.gateway import scope_of, scopes_of
from archstone.services import operations

READS = Principal("ann", frozenset({"customer"}), frozenset({"shop:read"}))


async def looked_up(text: str) -> Principal:
    await asyncio.sleep(0.01)
    return READS if text == "app-token" else TOKENS[text]


def test_a_scope_is_named_by_permission_or_by_contract_and_kind() -> None:
    found = {each.name: scope_of(each) for each in operations(Shop)}
    assert (found["me"], found["place"]) == ("shop:read", "shop:write")
    assert scopes_of(operations(Shop)) == frozenset({"shop:read", "shop:write"})


async def test_a_program_does_what_it_was_given_as_its_person() -> None:
    door = Door(verify=looked_up)
    assert (await door.get("/api/v1/me", token="app-token")).status == 200
    assert door.behind.calls[0].principal == READS


async def test_what_it_was_not_given_is_403_and_named() -> None:
    door = Door(verify=looked_up)
    answer = await door.post("/api/v1/orders", {"lines": []}, token="app-token", headers=[("idempotency-key", "k")])
    assert (answer.status, problem_code(answer)) == (403, "gateway.scope")
    assert header(answer, "www-authenticate") == 'Bearer error="insufficient_scope", scope="shop:write"'
    assert door.behind.calls == []


async def test_what_needs_nobody_is_done_as_nobody_without_its_scope() -> None:
    door = Door(verify=looked_up)
    await door.post("/api/v1/visits", {"page": "/"}, token="app-token")
    assert door.behind.calls[0].principal == NOBODY
    assert (await door.get("/api/v1/products/tea", token="app-token")).status == 200
    assert door.behind.calls[1].principal == READS


async def test_a_role_is_still_needed() -> None:
    answer = await Door(verify=looked_up).get("/api/v1/report", token="app-token")
    assert problem_code(answer) == "archstone.forbidden"


@pytest.mark.parametrize("headers", [[("x-api-key", "")], [("x-api-key", "a b")], [("x-api-key", "x" * 201)],
                                     [("x-api-key", "ann-token"), ("authorization", "Bearer ann-token")]])  # fmt: skip
async def test_a_key_has_one_form_and_comes_alone(headers: list[tuple[str, str]]) -> None:
    answer = await Door().get("/api/v1/me", headers=headers)
    assert (answer.status, problem_code(answer)) == (401, "gateway.token")


async def test_a_key_in_its_own_header_is_as_good_as_a_token() -> None:
    assert (await Door().get("/api/v1/me", headers=[("x-api-key", "ann-token")])).status == 200
