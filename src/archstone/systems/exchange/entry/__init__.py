"""How programs enter orders, and what they are told.

Reports             what each account is told, made of the sequencer's batches alone
Readers             reports and market data that go on after a start where they were
Identify            the port: which account a credential stands for
binary/             a binary protocol over TCP, and a client of it
fix/                FIX 4.4 over TCP

An order is named by account and number, and an account's numbers rise: what is sent twice is refused the second time.
"""

from archstone.systems.exchange.entry.readers import Readers
from archstone.systems.exchange.entry.reports import (
    REPORT,
    Flags,
    ForgottenError,
    Position,
    Report,
    Reports,
    Rows,
    reports_of,
)
from archstone.systems.exchange.entry.who import Identify

__all__ = [
    "REPORT",
    "Flags",
    "ForgottenError",
    "Identify",
    "Position",
    "Readers",
    "Report",
    "Reports",
    "Rows",
    "reports_of",
]
