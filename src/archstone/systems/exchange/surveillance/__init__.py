"""Surveillance: what was traded as candles and averages, and alerts for what looks like abuse, from the stream alone.

    SurveillanceService     reads the sequencer's stream
    Market                  candles, trades, averages: for everybody
    Surveillance            alerts with their evidence, and who is related to whom: for staff
    Rules, Layering, ...    what raises an alert
    Watch                   the rules themselves, without a database

An alert is a question to a person, never a verdict: nothing is stopped by it.
"""

from archstone.systems.exchange.surveillance.candles import Candle, Interval, candles_of, filled
from archstone.systems.exchange.surveillance.contract import (
    Alert,
    AlertPage,
    CandlePage,
    Market,
    Surveillance,
    UnknownAlertError,
    UnknownSymbolError,
)
from archstone.systems.exchange.surveillance.layering import Layering
from archstone.systems.exchange.surveillance.service import SurveillanceService
from archstone.systems.exchange.surveillance.washing import Washing
from archstone.systems.exchange.surveillance.watch import Found, Rules, Watch

__all__ = [
    "Alert",
    "AlertPage",
    "Candle",
    "CandlePage",
    "Found",
    "Interval",
    "Layering",
    "Market",
    "Rules",
    "Surveillance",
    "SurveillanceService",
    "UnknownAlertError",
    "UnknownSymbolError",
    "Washing",
    "Watch",
    "candles_of",
    "filled",
]
