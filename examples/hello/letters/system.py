"""The same system with one service more: whoever is greeted gets a letter, written and then posted."""

import asyncio
from pathlib import Path

from hello import Greeted, GreetingsService

from archstone.gateway import Gateway
from archstone.sagas import saga
from archstone.services import Service, System, on

LETTERS = Path("letters-sent")


class LettersService(Service):
    @on(Greeted)
    @saga(version=1)
    async def send_letter(self, event: Greeted) -> None:
        text = await self.step(write_letter, event.name)
        await self.step(post_letter, self.step.id, text, timeout_s=30.0)


async def write_letter(name: str) -> str:
    return f"Dear {name},\nit was good to meet you.\n"


async def post_letter(letter_id: str, text: str) -> None:
    await asyncio.sleep(2)  # the way to the letter box
    LETTERS.mkdir(exist_ok=True)
    (LETTERS / f"{letter_id}.txt").write_text(text)


hello = System("hello", services=[GreetingsService, LettersService], gateway=Gateway())
