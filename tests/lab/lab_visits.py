"""A load model for a server that knows two paths, as a child process imports it."""

from collections.abc import Sequence
from random import Random
from typing import Any

from archstone.lab import Http, LabError, Shot


class Visits:
    async def prepare(self, http: Http, *, rate_per_s: float, tell) -> Sequence[bytes]:
        if (await http.ask("GET", "/ready"))[0] != 200:
            raise LabError("not the server that was meant")
        tell("ready")
        return [b""]

    def shots(self, *, rate_per_s: float, duration_s: float, chance: Random) -> list[Shot]:
        count = int(rate_per_s * duration_s)
        return [Shot(n / rate_per_s, "look", b"GET /look HTTP/1.1\r\n", 0) for n in range(count)]

    async def settle(self, http: Http, kept: Sequence[Any]) -> dict[str, Any]:
        return {"oversold": None}


load = Visits()
