"""A market that is never empty: bots with seeds that make it and trade in it.

    Bots                    all of them, as one background task
    Market                  a book, as they need to know it
    Maker, Momentum, Noise, Slow
                            who decides: each a class that sees what any participant sees
    Walk                    the fair value around which the maker quotes

They are for trying an exchange, and for tests and demonstrations of one. They lose and make play money; nothing in them
is meant to earn any.
"""

from archstone.systems.exchange.bots.maker import Maker
from archstone.systems.exchange.bots.running import Bots, BotStatistics, Crew, Exchange, Looks, default_crew, run_bots
from archstone.systems.exchange.bots.takers import Momentum, Noise, Slow
from archstone.systems.exchange.bots.view import Bot, Level, Market, Open, View, change, place, withdraw
from archstone.systems.exchange.bots.walk import Walk

__all__ = [
    "Bot",
    "BotStatistics",
    "Bots",
    "Crew",
    "Exchange",
    "Level",
    "Looks",
    "Maker",
    "Market",
    "Momentum",
    "Noise",
    "Open",
    "Slow",
    "View",
    "Walk",
    "change",
    "default_crew",
    "place",
    "run_bots",
    "withdraw",
]
