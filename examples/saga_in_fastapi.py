"""A hotel and a flight are booked, or neither: `uvicorn saga_in_fastapi:app`, then `POST /trips/ann?flight=full`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from archstone.data import Database
from archstone.errors import DomainError
from archstone.sagas import Sagas, current_step, saga


class FlightFull(DomainError, code="trips.flight-full", status=409):
    """There is no seat."""


class Trips:
    @saga(version=1)
    async def book(self, name: str, flight: str) -> str:
        step = current_step()
        hotel = await step(book_hotel, name, undo=(cancel_hotel, name))
        seat = await step(book_flight, name, flight, undo=(cancel_flight, name))
        return f"{hotel}, {seat}"


async def book_hotel(name: str) -> str:
    return f"a room for {name}"  # call the hotel here, with a key: a step may run twice


async def cancel_hotel(name: str) -> None:
    print("hotel cancelled for", name)


async def book_flight(name: str, flight: str) -> str:
    if flight == "full":
        raise FlightFull
    return f"a seat for {name}"


async def cancel_flight(name: str) -> None:
    print("flight cancelled for", name)


db, trips = Database("sqlite:///trips.db"), Trips()
sagas = Sagas(db, owner=trips)


@asynccontextmanager
async def running(_: FastAPI) -> AsyncIterator[None]:
    async with db, sagas:
        yield


app = FastAPI(lifespan=running)


@app.post("/trips/{name}")
async def book(name: str, flight: str = "free") -> dict[str, str]:
    try:
        return {"booked": await sagas.run(trips.book, name, flight)}
    except FlightFull:
        return {"refused": "the flight is full"}
