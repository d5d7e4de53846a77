"""Market data: what all may see, made of the sequencer's batches alone.

BookImage           all books: prices, lots shown, number of orders; equal to `Venue.depth`
Feed                depth, trades and candles in this process, conflated for each reader
Publisher           the same as numbered packets, to everybody at once (`multicast`)
Recovery            what was lost on the way: messages again, or a snapshot, over TCP
MarketClient        books made of packets that may be lost, repeated, or come out of order
"""

from archstone.systems.exchange.feed.client import MarketClient
from archstone.systems.exchange.feed.feed import Feed
from archstone.systems.exchange.feed.image import BookImage, ImageError
from archstone.systems.exchange.feed.multicast import Group
from archstone.systems.exchange.feed.packets import Packet, PacketError
from archstone.systems.exchange.feed.publisher import Publisher
from archstone.systems.exchange.feed.recovery import Recovery, over_tcp
from archstone.systems.exchange.feed.values import Candle, Changes, Depth, Level, Phased, Trade, Update

__all__ = [
    "BookImage",
    "Candle",
    "Changes",
    "Depth",
    "Feed",
    "Group",
    "ImageError",
    "Level",
    "MarketClient",
    "Packet",
    "PacketError",
    "Phased",
    "Publisher",
    "Recovery",
    "Trade",
    "Update",
    "over_tcp",
]
