"""The page that says who reads and sets which field is what the contracts say."""

import json
import re
import runpy
from pathlib import Path
from typing import Final

import pytest
from pydantic import BaseModel, ConfigDict
from typer.testing import CliRunner

from archstone.cli import app
from archstone.cli.fields import Fields, fields_of
from archstone.services import ANYONE, Contract, Service, System, command, query
from archstone.systems.exchange.system import exchange
from archstone.systems.shop.system import shop

ROOT: Final = Path(__file__).parents[2]
SCRIPT: Final = runpy.run_path(str(ROOT / "docs" / "security" / "fields.py"))
PAGE: Final = ROOT / "docs" / "security" / "fields.md"
SECRET: Final = re.compile(r"password|secret|(^|_)token$|^codes?$|^text$|ticket")
TOLD_ONCE: Final = {
    "shop": {
        "Session": {"access_token", "refresh_token"},
        "BackupCodesOnce": {"codes"},
        "TotpOffer": {"secret"},
    },
    "exchange": {"Session": {"access_token"}, "NewKey": {"text"}},
}
"""Answers to the one for whom a secret is made."""


def test_the_page_is_as_the_contracts_are() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert SCRIPT["renewed"](text) == text, "run python docs/security/fields.py and read what has changed"


@pytest.mark.parametrize("system", [shop, exchange], ids=lambda system: system.name)
def test_secrets_are_told_once_and_in_no_other_type(system: System) -> None:
    read = {each.name: {name for name in each.fields if SECRET.search(name)} for each in fields_of(system) if each.read}
    told = {name: found for name, found in read.items() if found}
    assert told == TOLD_ONCE[system.name]


def test_what_is_for_staff_is_told_to_nobody_else() -> None:
    read = {each.name: set(each.read) for each in fields_of(shop)}
    assert {name for name, roles in read.items() if roles == {"admin", "support"}} >= {"OrderDossier", "UserPage"}
    assert "customer" in read["OrderView"]


class Seen(BaseModel):
    model_config = ConfigDict(frozen=True)
    name: str


class Hidden(BaseModel):
    model_config = ConfigDict(frozen=True)
    seen: tuple[Seen, ...]
    iban: str | None


class People(Contract, version="1.0"):
    @query("/people", public=True, requires=ANYONE)
    async def people(self) -> tuple[Seen, ...]: ...

    @query("/hidden", public=True, requires="admin")
    async def hidden(self) -> Hidden | None: ...

    @command("/people", public=True, requires="clerk")
    async def add(self, person: Seen, note: str) -> None: ...

    @command("/inside")
    async def inside(self, secret: str) -> None: ...


class PeopleService(Service, People):
    async def people(self) -> tuple[Seen, ...]:
        return ()

    async def hidden(self) -> Hidden | None:
        return None

    async def add(self, person: Seen, note: str) -> None: ...

    async def inside(self, secret: str) -> None: ...


def test_types_are_found_wherever_they_stand() -> None:
    assert fields_of(System("people", services=[PeopleService])) == [
        Fields("Hidden", ("seen", "iban"), ("admin",), ()),
        Fields("People.add", ("note",), (), ("clerk",)),
        Fields("Seen", ("name",), ("admin", "anybody"), ("clerk",)),
    ]


def test_the_verb_prints_them_for_people_and_programs() -> None:
    shown = CliRunner().invoke(app, ["roles", "exchange", "--fields"])
    assert shown.exit_code == 0
    assert "AccountRisk" in shown.output
    told = json.loads(CliRunner().invoke(app, ["roles", "exchange", "--fields", "--json"]).stdout)
    assert told["types"] == [{name: [*value] if name != "name" else value for name, value in each._asdict().items()}
                             for each in fields_of(exchange)]  # fmt: skip
