"""Values that JSON has no word for, and answers of a wrong type: neither leaves or enters a service."""

import json
import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest
from pydantic import BaseModel

from archstone.data import Database
from archstone.errors import RemoteError
from archstone.services import (
    ANYONE,
    Contract,
    Dispatcher,
    Operation,
    RequestInvalidError,
    ResultError,
    Service,
    command,
    operations,
    options,
    query,
)
from archstone.services.codec import ResultCodec
from archstone.services.http import ContractApp, Response, ask


class Spot(NamedTuple):
    x: float
    y: float


@dataclass(frozen=True)
class Size:
    wide_m: float


class Parcel(BaseModel, frozen=True):
    name: str
    weight_kg: float
    size: Size = Size(1.0)
    path: tuple[Spot, ...] = ()


class Scale(Contract, version="1.0"):
    @query("/rates/{weight_kg}", public=True, requires=ANYONE)
    async def rate(self, weight_kg: float, at: tuple[float, ...] = (), least: float | None = None) -> float: ...

    @command("/parcels", public=True, requires=ANYONE, key_required=False)
    async def weigh(self, parcel: Parcel, spare: float | None = None) -> Parcel: ...

    @query("/words", public=True, requires=ANYONE)
    async def word(self) -> str: ...


BY_NAME = {operation.name: operation for operation in operations(Scale)}


class Says:
    """A transport that answers what a test wants."""

    def __init__(self, answer: Callable[[dict[str, object]], object]) -> None:
        self.answer = answer

    async def call(self, operation: Operation, arguments: dict[str, object]) -> object:
        return self.answer(arguments)


async def post(parcel: str, *, strict: bool, answer: Callable[[dict], object] | None = None) -> Response:
    transport = Says(answer or (lambda arguments: arguments["parcel"]))
    app = ContractApp([(operation, transport) for operation in operations(Scale)], strict=strict)
    body = f'{{"parcel": {parcel}}}'.encode()
    return await ask(app, "POST", "/parcels", headers=[("content-type", "application/json")], body=body)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("text", ["nan", "NaN", "inf", "-Infinity", "1e999", "-1e400"])
@pytest.mark.parametrize("target", ["/rates/{}", "/rates/1?least={}", "/rates/1?at=1&at={}"])
async def test_a_text_that_is_no_finite_number_is_400(target: str, text: str, strict: bool) -> None:
    app = ContractApp([(BY_NAME["rate"], Says(lambda _: 1.0))], strict=strict)
    answer = await ask(app, "GET", target.format(text))
    assert answer.status == 400, answer.body
    assert "finite" in json.loads(answer.body)["errors"][0]["what"]


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("parcel", "where"),
    [
        ('{"name": "a", "weight_kg": 1e999}', "body.parcel.weight_kg"),
        ('{"name": "a", "weight_kg": 1, "size": {"wide_m": -1e999}}', "body.parcel.size.wide_m"),
        ('{"name": "a", "weight_kg": 1, "path": [[1, 2], [1, 1e999]]}', "body.parcel.path.1.1"),
    ],
)
async def test_a_number_beyond_all_floats_is_400_and_told_where(parcel: str, where: str, strict: bool) -> None:
    answer = await post(parcel, strict=strict)
    assert answer.status == 400, answer.body
    assert [fault["where"] for fault in json.loads(answer.body)["errors"]] == [where]


async def test_finite_numbers_pass() -> None:
    answer = await post('{"name": "1e999", "weight_kg": 1e300, "size": {"wide_m": 0.5}}', strict=True)
    assert json.loads(answer.body)["weight_kg"] == 1e300


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_a_client_does_not_send_what_would_arrive_as_null(number: float) -> None:
    arguments = {"parcel": Parcel(name="a", weight_kg=number), "spare": None}
    with pytest.raises(RequestInvalidError, match="finite"):
        BY_NAME["weigh"].encode_arguments(arguments)
    with pytest.raises(RequestInvalidError, match="finite"):
        BY_NAME["rate"].encode_request({"weight_kg": number, "at": (), "least": None})


WRONG = {
    "another class": lambda parcel: Size(1.0),
    "nothing": lambda parcel: None,
    "a field of another type": lambda parcel: parcel.model_copy(update={"name": 5}),
    "a part of another type": lambda parcel: parcel.model_copy(update={"path": ("here",)}),
    "None in a field": lambda parcel: parcel.model_copy(update={"name": None}),
    "infinity": lambda parcel: parcel.model_copy(update={"weight_kg": math.inf}),
}


@pytest.mark.parametrize("what", WRONG)
async def test_an_answer_of_a_wrong_type_is_an_error_and_not_sent(what: str) -> None:
    answer = await post(
        '{"name": "a", "weight_kg": 1}', strict=True, answer=lambda arguments: WRONG[what](arguments["parcel"])
    )
    assert answer.status == 500
    assert b"weight_kg" not in answer.body


@pytest.mark.parametrize("wrong", [5, None, b"x", ("x",)])
def test_a_plain_answer_of_a_wrong_type_is_an_error(wrong: object) -> None:
    with pytest.raises(ResultError, match="breaks the contract"):
        BY_NAME["word"].encode_result(wrong)
    assert BY_NAME["word"].encode_result("é") == '"é"'.encode()


class Row(BaseModel, frozen=True):
    sku: str
    marks: tuple[int, ...] = ()


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        (tuple[Row, ...], [Row(sku="a")], "result: expected tuple[Row, ...], got list: make it a tuple: tuple(...)"),
        (
            Row,
            Row(sku="s3cret").model_copy(update={"marks": [1]}),
            "result, field marks: expected tuple[int, ...], got list: make it a tuple: tuple(...)",
        ),
        (frozenset[int], {1}, "result: expected frozenset[int], got set: make it a frozenset: frozenset(...)"),
        (Row, {"sku": "s3cret"}, "result: expected Row, got dict: make the model of it: Model(**...)"),
        (int, "s3cret", "result: expected int, got str: return what the contract says, or change the contract"),
        (float, float("nan"), "result must be a finite number"),
        (
            Row,
            Row.model_construct(sku=None),
            "result.sku: Input should be a valid string, got NoneType: "  # noqa: ISC004 - one text
            "return a value, or say in the contract that there may be None",
        ),
        (
            Row,
            object(),
            "Unable to serialize unknown type: <class 'object'>: return what the contract says, or change the contract",
        ),
    ],
)
def test_an_answer_that_breaks_its_contract_is_told_with_place_types_and_remedy(
    kind: object, value: object, told: str
) -> None:
    with pytest.raises(ResultError) as caught:
        ResultCodec("Stock.rows", kind).encode(value)
    assert str(caught.value) == f"Stock.rows: the answer breaks the contract: {told}"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert pickle.loads(pickle.dumps(caught.value)).what == told


class Shelf(Contract, version="1.0"):
    @command("/skus", requires=ANYONE)
    async def skus(self) -> tuple[str, ...]: ...


class ShelfService(Service, Shelf):
    async def skus(self) -> tuple[str, ...]:
        await self.tx.execute("INSERT INTO taken VALUES (1)")
        return ["s3cret"]  # type: ignore[return-value]  # pyright: ignore[reportReturnType]


async def test_a_caller_learns_nothing_of_a_broken_answer_and_the_log_everything_but_its_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Database(f"sqlite:///{tmp_path}/x.db") as db:
        await db.execute("CREATE TABLE taken (n INTEGER)")
        async with Dispatcher(ShelfService(db=db)) as dispatcher:
            with pytest.raises(RemoteError) as caught:
                await options(dispatcher.client(Shelf), key="k").skus()
            assert await db.one(int, "SELECT count(*) FROM taken") == 0
    assert "tuple" not in str(caught.value)
    told = capsys.readouterr().err
    assert "Shelf.skus: the answer breaks the contract: result: expected tuple[str, ...], got list" in told
    assert "s3cret" not in told
