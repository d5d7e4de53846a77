"""What programs and people read about an application."""

import json
import re
from html.parser import HTMLParser

import pytest
from pydantic import BaseModel
from services_http_subject import Behind, app_of

from archstone.services import SIGNED_IN, Contract, operations, query
from archstone.services.http import ContractApp, ask


@pytest.fixture
async def schema() -> dict:
    app = app_of(Behind(), prefix="/api/v1", strict=True)
    answer = await ask(app, "GET", "/api/v1/openapi.json")
    assert answer.status == 200
    return json.loads(answer.body)


async def test_every_operation_is_described_once(schema: dict) -> None:
    described = {(method, path) for path, methods in schema["paths"].items() for method in methods}
    assert {("get", "/api/v1/stock/{sku}"), ("post", "/api/v1/reservations")} <= described
    assert schema["openapi"] == "3.1.0"
    assert schema["paths"]["/api/v1/stock/{sku}"]["get"]["operationId"] == "Depot.stock"


async def test_every_reference_leads_somewhere(schema: dict) -> None:
    text = json.dumps(schema)
    for name in re.findall(r'"#/components/schemas/([^"]+)"', text):
        assert name in schema["components"]["schemas"]


async def test_unknown_fields_are_refused_by_the_schemas_too(schema: dict) -> None:
    body = schema["paths"]["/api/v1/reservations"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["additionalProperties"] is False
    assert schema["components"]["schemas"]["Line"]["additionalProperties"] is False


async def test_parameters_of_path_and_query_string_are_typed(schema: dict) -> None:
    sku, least, tags = schema["paths"]["/api/v1/stock/{sku}"]["get"]["parameters"]
    assert (sku["in"], sku["required"], sku["schema"]) == ("path", True, {"type": "string", "minLength": 1})
    assert (least["in"], least["required"], least["schema"]) == ("query", False, {"type": "integer"})
    assert tags["explode"] is True


async def test_a_command_has_its_key_and_an_operation_its_login(schema: dict) -> None:
    reserve = schema["paths"]["/api/v1/reservations"]["post"]
    note = schema["paths"]["/api/v1/notes"]["post"]
    assert [(each["name"], each["required"]) for each in reserve["parameters"]] == [("Idempotency-Key", True)]
    assert [(each["name"], each["required"]) for each in note["parameters"]] == [("Idempotency-Key", False)]
    assert reserve["security"] == [{"bearer": []}]
    assert "security" not in note


async def test_declared_errors_are_answers_of_their_status(schema: dict) -> None:
    answers = schema["paths"]["/api/v1/stock/{sku}"]["get"]["responses"]
    assert answers["423"]["content"]["application/problem+json"]["schema"] == {
        "$ref": "#/components/schemas/http-test.closed"
    }
    out = schema["components"]["schemas"]["http-test.out-of-stock"]["allOf"][1]
    assert out["properties"]["type"] == {"const": "urn:archstone:error:http-test.out-of-stock"}
    assert out["properties"]["args"]["required"] == ["sku", "free"]


async def test_between_services_the_schemas_leave_room() -> None:
    answer = await ask(app_of(Behind()), "GET", "/openapi.json")
    assert b"additionalProperties" not in answer.body


class Reader(HTMLParser):
    """Checks that every tag is closed, and keeps the tags and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.add(tag)
        assert not [name for name, _ in attrs if name == "style" or name.startswith("on")]
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        self.text += data


async def test_the_page_lists_every_operation_without_a_script_and_escapes_what_it_shows() -> None:
    answer = await ask(app_of(Behind(), prefix="/api/v1", title="Depot & Co"), "GET", "/api/v1/docs")
    reader = Reader()
    reader.feed(answer.body.decode())
    assert reader.open == []
    assert not reader.tags & {"script", "link", "img", "b>"}
    assert "Stock <b>and</b> reservations." in reader.text
    assert "Depot & Co" in reader.text
    for path in ("/api/v1/stock/{sku}", "/api/v1/reservations/{order_id}", "lines: [{"):
        assert path in reader.text


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
async def test_documents_are_for_reading_only(path: str) -> None:
    app = app_of(Behind())
    assert (await ask(app, "HEAD", path)).status == 200
    assert (await ask(app, "POST", path)).status == 404


async def test_the_page_says_once_what_all_operations_refuse_and_links_to_every_operation() -> None:
    answer = await ask(app_of(Behind()), "GET", "/docs")
    text = answer.body.decode()
    assert text.count("Too many requests") == 1
    assert 'id="Depot.reserve"' in text
    assert '<a href="#Depot">' in text
    # A type behind a reference is indented like one that stands there itself.
    assert "<pre>{\n  sku: string\n  free: integer\n}</pre>" in text


class Box(BaseModel, frozen=True):
    """What goods lie in.

    hidden: it was a dictionary once.
    """

    size: int


class Cellar(Contract, version="1.0"):
    """Boxes below ground,
    and who may fetch them.

    hidden: it keeps no record (`record=False`).
    """

    @query("/boxes/{size}", public=True, requires=SIGNED_IN)
    async def box(self, size: int) -> Box:
        """Return a box.
        It is the best of its size.

        hidden: found by a scan.
        """
        ...


async def test_of_a_docstring_the_first_paragraph_is_public() -> None:
    app = ContractApp([(each, Behind()) for each in operations(Cellar)])
    described = json.loads((await ask(app, "GET", "/openapi.json")).body)
    assert described["tags"][0]["description"] == "Boxes below ground,\nand who may fetch them."
    box = described["paths"]["/boxes/{size}"]["get"]
    assert (box["summary"], box["description"]) == ("Return a box.", "Return a box.\nIt is the best of its size.")
    assert described["components"]["schemas"]["Box"]["description"] == "What goods lie in."
    for document in ("/openapi.json", "/docs"):
        assert b"hidden" not in (await ask(app, "GET", document)).body
