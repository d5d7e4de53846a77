"""A command in the words of each way in: REST, the stream, and the binary protocol."""

import json
from typing import Any

from archstone.systems.exchange.crowd import API
from archstone.systems.exchange.matching import Command, Kind, Side, TimeInForce, rows_of

__all__ = ["binary_of", "rest_of", "stream_of"]


def rest_of(command: Command, *, number: int, symbol: str) -> tuple[bytes, bytes]:
    """Return request line and body. A new order does not say its number: it gets the next one.

    Args:
        command: NEW, CANCEL or REPLACE.
        number: Of the order.
        symbol: Of its instrument.
    """
    match command.kind:
        case Kind.NEW:
            return _line("POST", "orders"), json.dumps({"order": _order(command, symbol)}).encode()
        case Kind.CANCEL:
            return _line("DELETE", f"orders/{number}"), b""
        case _:
            changed = {"quantity": command.quantity, "price": command.price}
            return _line("PATCH", f"orders/{number}"), json.dumps(changed).encode()


def stream_of(command: Command, *, number: int, symbol: str) -> bytes:
    """Return a message; see `rest_of`."""
    match command.kind:
        case Kind.NEW:
            said: dict[str, Any] = {"op": "place", "order": _order(command, symbol)}
        case Kind.CANCEL:
            said = {"op": "cancel", "number": number}
        case _:
            said = {"op": "replace", "number": number, "quantity": command.quantity, "price": command.price}
    return json.dumps(said).encode()


def binary_of(command: Command, *, number: int, book: int) -> bytes:
    """Return the 64 bytes of a request, as yet without its own number."""
    row = rows_of([command._replace(id=number, account=0)])
    row["book"] = book
    return row.tobytes()


def _order(command: Command, symbol: str) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "side": Side(command.side).name.lower(),
        "quantity": command.quantity,
        "price": command.price,
        "tif": TimeInForce(command.tif).name.lower(),
    }


def _line(method: str, path: str) -> bytes:
    return f"{method} {API}/{path} HTTP/1.1\r\n".encode()
