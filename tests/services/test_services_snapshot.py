"""What a change of contracts breaks, and for whom; what it does not break is not told."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, TypeAdapter
from services_cast import BankService, BooksService, TillService

from archstone.errors import ConfigError
from archstone.services import System, check_contracts, contracts_snapshot, differences, write_contracts
from archstone.services.schema_changes import changes


def little(path: Path | None = None) -> System:
    return System("little", services=[BankService, TillService, BooksService], contracts_snapshot=path)


def changed(change: Callable[[dict[str, Any]], object]) -> list[str]:
    """Return the differences that a change of the snapshot makes."""
    new = json.loads(json.dumps(contracts_snapshot(little())))
    change(new)
    return differences(contracts_snapshot(little()), new)


def test_nothing_changed_breaks_nothing() -> None:
    assert changed(lambda new: None) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda new: new["operations"].pop("Bank.charge"), "Bank.charge is gone: its callers fail"),
        (
            lambda new: new["operations"]["Till.sell"].update(path="/deals"),
            "Till.sell: path changed from /sales to /deals: its callers do not find it",
        ),
        (
            lambda new: new["operations"]["Till.sell"].update(public=False),
            "Till.sell is no longer public: callers through the gateway do not find it",
        ),
        (
            lambda new: new["operations"]["Bank.charge"].update(requires="admin"),
            "Bank.charge: requires admin instead of signed-in: some callers are refused",
        ),
        (
            lambda new: new["operations"]["Bank.charge"].update(key_required=True),
            "Bank.charge: needs an idempotency key now: callers without one are refused",
        ),
        (
            lambda new: new["operations"]["Bank.charge"]["arguments"]["required"].append("note"),
            "Bank.charge, arguments: note is required: callers of the last release are refused",
        ),
        (
            lambda new: new["operations"]["Till.sell"]["result"]["properties"].pop("entries"),
            "Till.sell, result: entries is gone: callers of the last release misread it",
        ),
        (
            lambda new: new["operations"]["Bank.charge"]["raises"].clear(),
            "Bank.charge: tests.bank-declined is no longer declared: callers that handle it see something else",
        ),
        (
            lambda new: new["events"].clear(),
            (
                "event till-tests.sale-made v1 is gone: what is on its way cannot be read; "
                "keep the class until it has arrived"
            ),
        ),
        (
            lambda new: new["events"]["till-tests.sale-made v1"].update(key=None),
            "event till-tests.sale-made v1: key changed from sale to None: order is lost across the upgrade",
        ),
    ],
)
def test_what_breaks_is_told_with_whom_it_hits(change: Callable[[dict[str, Any]], object], told: str) -> None:
    assert changed(change) == [told]


def test_an_optional_argument_and_a_new_field_of_a_result_break_nothing() -> None:
    def change(new: dict[str, Any]) -> None:
        new["operations"]["Bank.charge"]["arguments"]["properties"]["note"] = {"type": "string"}
        new["operations"]["Till.sell"]["result"]["properties"]["at"] = {"type": "string"}
        new["operations"]["Bank.new"] = new["operations"]["Bank.charge"]

    assert changed(change) == []


class Old(BaseModel):
    title: str
    size: int = 1


class Renamed(BaseModel):
    headline: str
    size: int = 1


class Optional(BaseModel):
    title: str = ""
    size: int = 1


class Wider(BaseModel):
    title: str | None
    size: int = 1


class Nested(BaseModel):
    name: str
    inside: "tuple[Nested, ...]" = ()


class NestedOther(BaseModel):
    name: int
    inside: "tuple[NestedOther, ...]" = ()


@pytest.mark.parametrize(
    ("old", "new", "we_read", "told"),
    [
        (int, str, True, ["it changed from integer to string"]),
        (int, float, True, []),
        (int, float, False, ["it changed from integer to number"]),
        (float, int, False, []),
        (str, Annotated[str, Field(max_length=5)], True, ["it: maxLength is 5, it was without limit"]),
        (str, Annotated[str, Field(max_length=5)], False, []),
        (Annotated[int, Field(gt=0)], Annotated[int, Field(gt=-5)], True, []),
        (Annotated[int, Field(gt=0)], Annotated[int, Field(gt=5)], True, ["it: exclusiveMinimum is 5, it was 0"]),
        (int | None, int, True, ["it may be null, which we no longer read"]),
        (int, int | None, True, []),
        (int, int | None, False, ["it may be null, which they do not read"]),
        (Old, Renamed, True, ["headline is required", "title is gone, what is given there is ignored"]),
        (Old, Renamed, False, ["title is gone"]),
        (Old, Optional, True, []),
        (Old, Optional, False, ["title can be absent"]),
        (Old, Wider, False, ["title may be null, which they do not read"]),
        (tuple[Old, ...], tuple[Wider, ...], False, ["each of it.title may be null, which they do not read"]),
        (tuple[int, str], tuple[int, int], True, ["member 1 of it changed from string to integer"]),
        (tuple[int, str], tuple[int, str, int], True, ["it: minItems is 3, it was 2", "it has 3 members, it had 2"]),
        (Nested, Nested, True, []),
        (Nested, NestedOther, True, ["name changed from string to integer"]),
    ],
)
def test_a_type_may_widen_where_we_read_and_narrow_where_we_write(
    old: Any, new: Any, we_read: bool, told: list[str]
) -> None:
    schemas = [TypeAdapter(kind).json_schema() for kind in (old, new)]
    assert changes(*schemas, written_by_other_side=we_read) == told


def test_values_may_be_added_where_we_read_and_taken_where_we_write() -> None:
    two, three = {"enum": ["a", "b"], "type": "string"}, {"enum": ["a", "b", "c"], "type": "string"}
    assert changes(two, three, written_by_other_side=True) == []
    assert changes(three, two, written_by_other_side=True) == ['it can no longer be "c"']
    assert changes(three, two, written_by_other_side=False) == []
    assert changes(two, three, written_by_other_side=False) == ['it can also be "c"']


def test_a_committed_snapshot_is_compared(tmp_path: Path) -> None:
    system = little(tmp_path / "contracts.json")
    with pytest.raises(ConfigError, match="no snapshot"):
        check_contracts(system)
    path = write_contracts(system)
    check_contracts(system)
    kept = json.loads(path.read_text())
    kept["operations"]["Bank.old"] = kept["operations"]["Bank.charge"]
    path.write_text(json.dumps(kept))
    with pytest.raises(ConfigError, match=r"Bank\.old is gone: its callers fail"):
        check_contracts(system)
    del kept["operations"]["Bank.old"], kept["operations"]["Bank.charge"]
    path.write_text(json.dumps(kept))
    with pytest.raises(ConfigError, match="compatibly: renew"):
        check_contracts(system)
