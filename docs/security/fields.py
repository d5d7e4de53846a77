"""Which role reads and sets which field, as a page: `python docs/security/fields.py` writes it from the contracts."""

from pathlib import Path

from archstone.cli.fields import fields_of
from archstone.services import System
from archstone.systems.exchange.system import exchange
from archstone.systems.shop.system import shop

PAGE = Path(__file__).with_suffix(".md")
BEGIN = "<!-- from here on written by fields.py -->\n"


def table(system: System) -> str:
    """Return the rows of one system."""
    rows = [
        f"| {each.name} | {', '.join(each.fields)} | {', '.join(each.read) or '-'} | {', '.join(each.set) or '-'} |"
        for each in fields_of(system)
    ]
    head = f"## {system.name}\n\n| type or operation | fields | read by | set by |\n| --- | --- | --- | --- |\n"
    return head + "\n".join(rows) + "\n"


def renewed(text: str) -> str:
    """Return the page with its tables as they are now."""
    return text.partition(BEGIN)[0] + BEGIN + "\n" + "\n".join(table(system) for system in (shop, exchange))


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
