"""Clearing: a double-entry ledger of cash and positions, with fees, settlement and statements.

    ClearingService         books what the tape tells
    Clearing                statements, balances, and corrections by reversal
    FeeSchedule             what trading costs
    Settlement              when what was traded is settled
    Ledger, entry_of_trade  the ledger itself, and what an entry is made of
    faults, differences     what must never be false of a ledger, and how it differs from the venue

Money is whole units of the smallest kind, positions are whole lots; nothing here is a fraction.
"""

from archstone.systems.exchange.clearing.contract import (
    AccountBalances,
    Balance,
    Clearing,
    NotReversibleError,
    Statement,
    StatementLine,
    TrialBalance,
    UnknownEntryError,
)
from archstone.systems.exchange.clearing.entries import HOUSE, OUTSIDE, Entry, Purse, Transfer
from archstone.systems.exchange.clearing.fees import FeeSchedule
from archstone.systems.exchange.clearing.invariants import differences, faults
from archstone.systems.exchange.clearing.ledger import Ledger
from archstone.systems.exchange.clearing.owners import AccountRule
from archstone.systems.exchange.clearing.postings import entry_of_payment, entry_of_trade, reversal_of
from archstone.systems.exchange.clearing.service import ClearingService
from archstone.systems.exchange.clearing.settlement import Settlement

__all__ = [
    "HOUSE",
    "OUTSIDE",
    "AccountBalances",
    "AccountRule",
    "Balance",
    "Clearing",
    "ClearingService",
    "Entry",
    "FeeSchedule",
    "Ledger",
    "NotReversibleError",
    "Purse",
    "Settlement",
    "Statement",
    "StatementLine",
    "Transfer",
    "TrialBalance",
    "UnknownEntryError",
    "differences",
    "entry_of_payment",
    "entry_of_trade",
    "faults",
    "reversal_of",
]
