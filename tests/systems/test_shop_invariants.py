"""The invariants themselves: figures in order are passed, and each planted fault is named."""

from pathlib import Path
from typing import Any

import pytest

from archstone.systems.shop.invariants import (
    Figures,
    MailFigure,
    OrderFigure,
    RefundFigure,
    StockFigure,
    check,
    faults_of,
)

A, B, C, R = "a" * 32, "b" * 32, "c" * 32, "d" * 32

WELL = Figures(
    orders=(OrderFigure(A, "confirmed", 100, 2), OrderFigure(B, "cancelled", 70, 2)),
    histories=((A, 2, 2), (B, 2, 2)),
    stock=(StockFigure("KIT-001", 8, 0, 2, 10),),
    reservations=((A, "sold"), (B, "released")),
    ledger=0,
    shop_balance=100,
    captures=((A, 100), (B, 70)),
    refunds=(RefundFigure(B, B, 70),),
    refunds_booked=(RefundFigure(B, B, 70),),
    payments=((A, "captured"), (B, "refunded")),
    shipments=((A, "created"), (B, "cancelled")),
    mails=(MailFigure("1.eml", A, "confirmed"), MailFigure("2.eml", B, "cancelled")),
)


def test_a_shop_in_order_has_no_faults(tmp_path: Path) -> None:
    assert faults_of(WELL) == []
    assert faults_of(Figures()) == []
    assert faults_of(WELL._replace(checkouts=((A, 0, 0), (B, 0, 2)))) == []
    assert check(tmp_path) == []


def test_an_order_that_was_cancelled_after_it_was_confirmed_has_two_mails() -> None:
    assert faults_of(WELL._replace(mails=(*WELL.mails, MailFigure("3.eml", B, "confirmed")))) == []


def test_who_has_left_need_not_be_written_to_but_never_twice() -> None:
    left = WELL._replace(mails=(), departed=frozenset({A, B}))
    assert faults_of(left) == []
    twice = (MailFigure("1.eml", A, "confirmed"), MailFigure("2.eml", A, "confirmed"))
    assert len(faults_of(left._replace(mails=twice))) == 1


PART = RefundFigure(R, A, 30)
PARTLY = WELL._replace(
    shop_balance=70,
    refunds=(*WELL.refunds, PART),
    refunds_booked=(*WELL.refunds_booked, PART),
    refunds_told=(PART,),
    mails=(*WELL.mails, MailFigure("3.eml", A, "refunded")),
)


def test_an_order_of_which_a_part_was_refunded_is_in_order() -> None:
    assert faults_of(PARTLY) == []


def test_an_order_of_which_all_was_refunded_is_in_order_and_payments_says_so() -> None:
    whole = RefundFigure(R, A, 100)
    changed = {"refunds": (*WELL.refunds, whole), "refunds_booked": (*WELL.refunds, whole), "refunds_told": (whole,)}
    figures = PARTLY._replace(shop_balance=0, payments=((A, "refunded"), (B, "refunded")), **changed)
    assert faults_of(figures) == []
    assert any("payments has it as captured" in fault for fault in faults_of(figures._replace(payments=WELL.payments)))


@pytest.mark.parametrize(
    ("planted", "told"),
    [
        ({"refunds_asked": ((C, A),)}, f"refund {C} of order {A} has not ended"),
        ({"refunds_told": ()}, f"refund {R} of order {A}: 30 were given back and its history does not tell"),
        ({"refunds_told": ()}, f"order {A} is confirmed: 70 of its money is kept, 100 is due"),
        ({"refunds_booked": WELL.refunds}, f"refund {R} of order {A}: 30 were given back by the bank alone"),
        ({"refunds": WELL.refunds}, f"refund {R} of order {A}: 30 were given back in the books of payments alone"),
        ({"refunds": WELL.refunds}, f"refund {R} of order {A}: 30 were given back by its history alone"),
        ({"refunds": (*PARTLY.refunds, PART)}, f"order {R} has 2 refunds of one id"),
        ({"mails": WELL.mails}, f"order {A} has 1 refunds, and 0 mails that say so"),
        ({"shop_balance": 100}, "the shop's account holds 100, captures less refunds are 70"),
    ],
)
def test_each_planted_fault_of_a_refund_is_named(planted: dict[str, Any], told: str) -> None:
    assert any(told in fault for fault in faults_of(PARTLY._replace(**planted)))


@pytest.mark.parametrize(
    ("planted", "told"),
    [
        ({"orders": (OrderFigure(A, "pending", 100, 2), WELL.orders[1])}, f"order {A} has not ended: it is pending"),
        ({"histories": ((A, 3, 3), (B, 2, 2))}, f"order {A}: its row is at version 2, its 3 events end at 3"),
        ({"histories": ((A, 1, 2), (B, 2, 2))}, f"order {A}: its row is at version 2, its 1 events end at 2"),
        ({"orders": WELL.orders[:1]}, f"order {B} has a history and no row"),
        ({"stock": (StockFigure("X-1", -1, 0, 1, 0),)}, "stock of X-1 is below zero"),
        ({"stock": (StockFigure("X-1", 1, 1, 1, 4),)}, "stock of X-1: 1 free + 1 held + 1 sold is not 4"),
        ({"stock": (StockFigure("X-1", 5, 0, 0, 4, 1),)}, "stock of X-1 is corrected by 1, which is not the sum"),
        ({"corrections": (("X-2", 1),)}, "corrections of X-2 are written down, and it has no stock"),
        ({"reservations": ((A, "held"), (B, "released"))}, f"order {A} is confirmed and its goods are held"),
        ({"reservations": ((A, "sold"), (B, "sold"))}, f"order {B} is cancelled and its goods are sold"),
        ({"checkouts": ((A, 0, 1), (B, 0, 1))}, f"order {A} is confirmed and its checkout was turned back"),
        ({"checkouts": ((B, 1, 1),)}, f"order {B} is cancelled and has a deadline still"),
        (
            {"orders": (OrderFigure(A, "pending", 100, 2),), "checkouts": ((A, 0, 0),)},
            f"order {A} is pending and nobody watches it",
        ),
        ({"checkouts": ((C, 0, 0),)}, f"order {C} has a checkout by events and no row"),
        ({"ledger": 5}, "the ledger sums to 5, not to zero"),
        ({"shop_balance": 99}, "the shop's account holds 99, captures less refunds are 100"),
        ({"refunds": ()}, f"order {B} is cancelled: 70 of its money is kept, 0 is due"),
        ({"captures": ((B, 70),)}, f"order {A} is confirmed: 0 of its money is kept, 100 is due"),
        ({"captures": ((A, 100), (A, 100), (B, 70))}, f"order {A} has 2 captures"),
        ({"payments": ((B, "refunded"),)}, f"order {A} is confirmed and payments has it as None"),
        ({"payments": ((A, "captured"), (B, "captured"))}, f"order {B} is cancelled and payments has it as captured"),
        ({"shipments": ((B, "cancelled"),)}, f"order {A} is confirmed and its parcel is None"),
        ({"shipments": ((A, "created"), (B, "packed"))}, f"order {B} is cancelled and its parcel is packed"),
        ({"mails": WELL.mails[1:]}, f"order {A} is confirmed: 0 mails say confirmed and 0 cancelled"),
        ({"mails": (*WELL.mails, WELL.mails[0])}, f"order {A} is confirmed: 2 mails say confirmed and 0 cancelled"),
        ({"mails": WELL.mails[:1]}, f"order {B} is cancelled: 0 mails say confirmed and 0 cancelled"),
        ({"mails": (*WELL.mails, MailFigure("3.eml", "c" * 32, "confirmed"))}, "which is not there"),
    ],
)
def test_each_planted_fault_is_named(planted: dict[str, Any], told: str) -> None:
    assert any(told in fault for fault in faults_of(WELL._replace(**planted)))
