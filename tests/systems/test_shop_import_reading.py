"""Reading catalogues of others: every form of file, every fault by its line, and never a wrong price."""

import contextlib
import csv
import io
import json
import os
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archstone.systems.shop.catalog.importing import LoadedProduct
from archstone.systems.shop.importing.fields import FieldMap, FieldMapError, paths_of
from archstone.systems.shop.importing.prices import PriceError, read_price
from archstone.systems.shop.importing.products import Fault, ProductReader
from archstone.systems.shop.importing.records import FileUnreadableError, Record, open_records
from archstone.systems.shop.importing.texts import category_id, fitting_sku, plain_text

OTHERS = "SHOP_PRODUCTS_OF_OTHERS"
"""Names a file of products that nobody here wrote."""


def read(path: Path, text: str | bytes, **options: object) -> list[tuple[int, object]]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with open_records(path, **options) as records:  # type: ignore[arg-type] - options by name
        return [(record.line, record.fields if record.fields is not None else record.fault) for record in records]


def products(path: Path, text: str | bytes, *mapping: str, **options: object) -> list[LoadedProduct | Fault]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    reader = ProductReader(FieldMap.parse(mapping), **options)  # type: ignore[arg-type] - options by name
    with open_records(path) as records:
        return [reader.read(record) for record in records]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ('[\n {"id": 1},\n\n {"id": 2}\n]', [2, 4]),
        ('{"total": 2, "products": [{"id": 1},\n{"id": 2}], "tags": ["a", "b"], "meta": {"page": 1}}', [1, 2]),
        ('{"data": {"shop": {"items": [{"id": 1}, {"id": 2}]}}}', [1, 1]),
        ('{"id": 1}\n\n{"id": 2}\n', [1, 3]),
        ('\ufeff[{"id": 1}, {"id": 2}]', [1, 1]),
        ("id\n1\n2\n", [2, 3]),
        ('\ufeff"id";"note"\r\n1;"a\r\nb"\r\n2;x\r\n', [2, 4]),
        ("\n\nsep=|\nid|a\n1|2\n\n2|3", [5, 7]),
        ("id\ta,b,c\n1\tx\n2\ty", [2, 3]),
    ],
)
def test_records_are_found_in_every_form_of_file_with_the_line_they_begin_on(
    tmp_path: Path, text: str, lines: list[int]
) -> None:
    for suffix in (".txt", ".json"):
        found = read(tmp_path / f"file{suffix}", text)
        assert [line for line, _ in found] == lines
        assert [str(fields["id"]) for _, fields in found] == ["1", "2"]  # type: ignore[index] - records of JSON


def test_marks_of_utf_16_and_named_encodings_are_read(tmp_path: Path) -> None:
    assert read(tmp_path / "a.csv", "id;name\n1;Käse\n".encode("utf-16")) == [(2, {"id": "1", "name": "Käse"})]
    assert read(tmp_path / "b.csv", "id\nKäse\n".encode("cp1252"), encoding="cp1252") == [(2, {"id": "Käse"})]
    with pytest.raises(FileUnreadableError, match="not utf-8: name the file's encoding"):
        read(tmp_path / "b.csv", ("id\n" + "1\n" * 99_999).encode() + "Käse\n".encode("cp1252"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("  \n", "is empty"),
        ('[{"id": 1},\n{"id": 2', "line 2: is not JSON"),
        ('[{"id": 1},\n{"id": }]', "line 2: is not JSON"),
        ('[{"id": 1}] x', "after the end"),
        ('{"a": [{"id": 1}], "b": [{"id": 2}]}', "two arrays of objects, a and b"),
        ('{"id": 1', "breaks off"),
        ("[" * 100_000, "nested too deeply"),
        ('id,name\n1,"open\n' + "x\n" * 600_000, "line 2: is not CSV"),
        ('id,name\n1,Pan\n2,"open\n3,Pot\n', "line 3: opens a quote that nobody closes"),
        ("x" * 1_100_000, "longer than 1048576"),
        ('[{"a": "' + "x" * 1_400_000 + '"}]', "longer than 1048576"),
    ],
)
def test_what_makes_the_rest_unreadable_ends_the_reading_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(FileUnreadableError, match=told):
        read(tmp_path / "file.json" if text[:1] in "[{" else tmp_path / "file.csv", text)


def test_a_cell_may_hold_much_text_and_the_last_line_may_lack_its_end(tmp_path: Path) -> None:
    much = "x" * 300_000
    assert read(tmp_path / "a.csv", f'id,name\n1,{much}\n2,"two\nlines"') == [
        (2, {"id": "1", "name": much}), (3, {"id": "2", "name": "two\nlines"}),
    ]  # fmt: skip


def test_the_fields_of_a_record_are_told_as_a_mapping_names_them() -> None:
    record = {"id": 1, "name": {"en": "Pan", "de": {"long": "Pfanne"}}, "price": [1], "odd\nname": 2, "": 3}
    assert paths_of(record) == ("id", "name.en", "name.de.long", "price", "odd name")
    many = paths_of({f"field {number}": number for number in range(26)})
    assert (len(many), many[24:]) == (26, ("field 24", "..."))
    assert len(paths_of({f"field {number}": number for number in range(25)})) == 25


def test_one_bad_record_spoils_no_other(tmp_path: Path) -> None:
    found = read(tmp_path / "a.jsonl", '{"id": 1}\n{"id": \n[1]\n{"id": 2}')
    assert [line for line, _ in found] == [1, 2, 3, 4]
    assert ["not JSON" in str(found[1][1]), "JSON array" in str(found[2][1])] == [True, True]
    assert read(tmp_path / "b.json", '[{"id": 1}, 7, null]')[1:] == [
        (1, "it is no object with fields, it is a JSON single value"),
        (1, "it is no object with fields, it is a JSON null"),
    ]
    surplus = read(tmp_path / "c.csv", "id,price\n1,2,50\n2,3,\n3\n")
    assert surplus[0] == (2, "it has 3 cells, the header has 2: a delimiter outside quotes?")
    assert surplus[1:] == [(3, {"id": "2", "price": "3"}), (4, {"id": "3"})]


def test_the_array_can_be_named(tmp_path: Path) -> None:
    text = '{"a": [{"id": 1}], "b": {"rows": [{"id": 2}]}}'
    assert read(tmp_path / "a.json", text, rows_at="b.rows") == [(1, {"id": Decimal(2)})]
    with pytest.raises(FileUnreadableError, match="no array of objects at 'c'"):
        read(tmp_path / "a.json", text, rows_at="c")


def test_a_large_array_is_read_across_the_edges_of_the_window(tmp_path: Path) -> None:
    rows = [{"id": number, "text": "ä" * (number % 700), "n": 10**number % 997} for number in range(3_000)]
    found = read(tmp_path / "a.json", json.dumps(rows, indent=1))
    assert [fields["id"] for _, fields in found] == [row["id"] for row in rows]  # type: ignore[index] - records of JSON
    assert [fields["n"] for _, fields in found] == [row["n"] for row in rows]  # type: ignore[index] - records of JSON
    assert [line for line, _ in found] == [2 + 5 * number for number in range(3_000)]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
OURS = st.sampled_from(["id", "sku", "name", "price", "stock", "category", "images", "description", "currency"])


@settings(deadline=None)
@given(st.lists(st.dictionaries(OURS, JSON, max_size=9), max_size=5))
def test_whatever_a_record_holds_it_becomes_a_product_or_a_fault(rows: list[dict]) -> None:
    reader = ProductReader(FieldMap.parse([]))
    for number, row in enumerate(rows):
        made = reader.read(Record(number, json.loads(json.dumps(row), parse_float=Decimal, parse_int=Decimal)))
        assert isinstance(made, LoadedProduct) or (made.line == number and made.reason)


@settings(deadline=None)
@given(st.text(max_size=300) | st.binary(max_size=300))
def test_no_file_fails_in_another_way_than_with_its_reason(text: str | bytes) -> None:
    with contextlib.suppress(FileUnreadableError):
        products(FUZZ / "any", text.encode(errors="surrogatepass") if isinstance(text, str) else text)


FUZZ = Path(os.environ.get("TMPDIR", "/tmp")) / f"archstone-fuzz-{os.getpid()}"


@pytest.fixture(autouse=True, scope="module")
def fuzz_folder() -> object:
    FUZZ.mkdir(exist_ok=True)
    yield
    for file in FUZZ.iterdir():
        file.unlink()
    FUZZ.rmdir()


@given(st.integers(1, 10**11), st.sampled_from(["{}", "${}", "{} €", "EUR {}", "£{}"]), st.integers(0, 3))
def test_a_price_comes_back_however_it_is_written(minor: int, form: str, style: int) -> None:
    whole, cents = divmod(minor, 100)
    written = [
        f"{whole}.{cents:02d}",
        f"{whole:,}.{cents:02d}",
        f"{whole:,}".replace(",", ".") + f",{cents:02d}",
        f"{whole:,}".replace(",", " ") + f",{cents:02d}",
    ][style]
    currency = {"$": "USD", "£": "GBP"}.get(form[0], "EUR")
    assert read_price(form.format(written), default="EUR") == (minor, currency)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Decimal("9.99"), (999, "EUR")),
        (Decimal("19.990000000000002"), (1999, "EUR")),
        (Decimal("0.125"), (13, "EUR")),
        (7, (700, "EUR")),
        ("$1,299", (129900, "USD")),
        ("12,-", (1200, "EUR")),
        ("1,23,456.00", (12345600, "EUR")),
        ("1'234.50 CHF", (123450, "CHF")),
        ("\u00a51,200", (1200, "JPY")),
        ("0,5", (50, "EUR")),
    ],
)
def test_prices_of_the_world_are_read(found: object, expected: tuple[int, str]) -> None:
    assert read_price(found, default="EUR") == expected


@pytest.mark.parametrize(
    "found",
    ["1.234", "1.2.3", "12 34", "free", "", "-3", "$5 €", "5 units", "1e5", "9" * 80, Decimal("1e999999"),
     Decimal("NaN"), Decimal(-1), True, None, [1]],
)  # fmt: skip
def test_what_is_no_price_or_two_is_refused(found: object) -> None:
    with pytest.raises(PriceError):
        read_price(found, default="EUR")


def test_nested_fields_names_of_others_and_chosen_ones(tmp_path: Path) -> None:
    row = {
        "Product ID": 7,
        "Title": "<b>Caf\u00e9</b> &amp; Co",
        "pricing": {"final": {"amount": "12.50", "currency": "usd"}},
        "category": {"name": "Home & Garden"},
        "body_html": "<p>One</p><script>x()</script><p>two &lt; three</p>",
        "images": [{"src": "https://a.example/1.png"}, "javascript:x", "https://a.example/1.png"],
    }
    (made,) = products(tmp_path / "a.json", json.dumps([row]), "price=pricing.final", default_stock=3)
    assert made == LoadedProduct(
        sku="ID-7", name="Caf\u00e9 & Co", category="home-garden", category_title="Home & Garden", amount=1250,
        currency="USD", description="One\ntwo < three", images=("https://a.example/1.png",), pieces=3, line=1,
    )  # fmt: skip


def test_every_fault_is_told_with_its_line_and_the_rest_is_read(tmp_path: Path) -> None:
    table = io.StringIO()
    csv.writer(table).writerows(
        [
            ["id", "name", "price", "stock"],
            ["1", "Pan", "\u20ac9.99", "5"],
            ["1", "Pan again", "9.99", "5"],
            ["", "Nameless", "1", "1"],
            ["4", "", "1", "1"],
            ["5", "Lamp", "", "1"],
            ["6", "Lamp", "0", "1"],
            ["7", "Lamp", "1", "-2"],
            ["8", "Lamp", "1", "many"],
            ["9", "x" * 201, "1", "1"],
            ["10", "Line\nbreak", "$1,000.00", ""],
        ]
    )
    found = products(tmp_path / "a.csv", table.getvalue())
    assert [made.sku for made in found if isinstance(made, LoadedProduct)] == ["ID-1", "ID-10"]
    last = found[-1]
    assert isinstance(last, LoadedProduct)
    assert (last.name, last.amount, last.pieces, last.line) == ("Line break", 100000, 0, 11)
    assert [str(made.line) + ": " + made.reason for made in found if isinstance(made, Fault)] == [
        "3: 'ID-1' was on line 2 already: the first one counts",
        "4: it has neither sku nor id, so a second run could not know it again: --map id=...",
        "5: it has no name: --map name=...",
        "6: it has no price: --map price=...",
        "7: price '0' must be above 0",
        "8: stock '-2' is no whole number from 0 on",
        "9: stock 'many' is no whole number from 0 on",
        f"10: name {'x' * 60!r}... has 201 characters, at most 200",
    ]


def test_categories_are_bounded() -> None:
    reader = ProductReader(FieldMap.parse([]))
    found = [
        reader.read(Record(n, {"id": str(n), "name": "A", "price": "1", "category": f"c{n % 1002}"}))
        for n in range(2_000)
    ]
    faults = [made for made in found if isinstance(made, Fault)]
    assert [fault.line for fault in faults] == [1_000, 1_001]
    assert "is one more than the 1000" in faults[0].reason


@pytest.mark.parametrize(
    ("text", "told"),
    [("name", "write OURS=THEIRS"), ("nam=x", "did you mean name"), ("name=a,name=b", "names 'name' twice")],
)
def test_a_mapping_that_does_not_fit_is_refused(text: str, told: str) -> None:
    with pytest.raises(FieldMapError, match=told):
        FieldMap.parse([text])


def test_a_mapped_field_that_no_record_has_is_known() -> None:
    reader = ProductReader(FieldMap.parse(["name=titel,price=cost,sku="]))
    reader.read(Record(1, {"id": "1", "cost": "2", "sku": "A"}))
    assert reader.missing == {"name"}


@given(st.text(min_size=1, max_size=60), st.sampled_from(["", "ID", "ACME"]))
def test_an_sku_is_made_from_anything_and_always_the_same(identity: str, prefix: str) -> None:
    made = fitting_sku(identity, prefix=prefix)
    assert LoadedProduct.model_validate({**SAMPLE.model_dump(), "sku": made}).sku == fitting_sku(
        identity, prefix=prefix
    )
    assert LoadedProduct.model_validate({**SAMPLE.model_dump(), "category": category_id(identity)})


SAMPLE = LoadedProduct(
    sku="A-1", name="A", category="a", category_title="A", amount=1, currency="EUR", description="", images=(), pieces=0
)


def test_different_identities_have_different_skus_and_titles_different_categories() -> None:
    assert fitting_sku("bea-001") == "BEA-001"
    assert len({fitting_sku(text) for text in ("AB/CD", "AB CD", "AB-CD", "AB--CD")}) == 4
    assert category_id("Kitchen") == "kitchen"
    assert len({category_id(text) for text in ("\u53a8\u623f", "\u82b1\u56ed", "kitchen")}) == 3


def test_markup_goes_and_text_stays() -> None:
    assert plain_text("<p>a</p>\n<ul><li>b<li>c</ul>&nbsp;d<style>x</style>") == "a\nb\nc\nd"
    assert plain_text("3 < 4 and 5 > 2") == "3 < 4 and 5 > 2"
    assert plain_text("a\x00b\u2028c <!-- no --> d") == "abc d"
    assert plain_text("\u202egnp.exe \u2067cup\u2069") == "gnp.exe cup", "nothing turns the direction of what follows"


def test_the_products_of_others_are_read_without_a_mapping() -> None:
    if not (file := os.environ.get(OTHERS)):
        pytest.skip(f"{OTHERS} names no file of products that nobody here wrote")
    reader = ProductReader(FieldMap.parse([]))
    with open_records(Path(file)) as records:
        found = [reader.read(record) for record in records]
    assert [made for made in found if isinstance(made, Fault)] == []
    assert len(found) == 194
    first = found[0]
    assert isinstance(first, LoadedProduct)
    assert (first.sku, first.amount, first.pieces, first.category) == ("BEA-ESS-ESS-001", 999, 99, "beauty")
