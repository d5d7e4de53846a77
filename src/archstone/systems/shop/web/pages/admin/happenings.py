"""Everything that ever happened to an order, from all who know of it, in one list by time."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final, Literal, NamedTuple

from archstone.systems.shop.orders.administration import OrderDossier
from archstone.systems.shop.web.money import Locale, written

__all__ = ["Happening", "happenings"]

Kind = Literal["Order", "Money", "Parcel", "Goods", "Mail"]

_GOODS: Final = {
    "held": "Goods set aside",
    "sold": "Goods sold",
    "expired": "Goods put back: the time was up",
    "released": "Goods put back: the order was given up",
}
_REFUND: Final = {"open": "Refund under way", "done": "Refunded", "refused": "Refund refused"}


class Happening(NamedTuple):
    """One thing."""

    at: datetime
    kind: Kind
    what: str
    by: str = ""
    """Who caused it: a user's id, or a service. Empty: not known."""
    reference: str = ""
    """What finds it in logs and traces, or at the provider. Empty: nothing does."""


def happenings(dossier: OrderDossier, locale: Locale) -> tuple[Happening, ...]:
    """Return what happened, oldest first."""
    found = [*_order(dossier), *_money(dossier, locale), *_things(dossier)]
    return tuple(sorted(found, key=lambda each: each.at))


def _order(dossier: OrderDossier) -> Iterator[Happening]:
    for entry in dossier.history:
        yield Happening(entry.at, "Order", entry.what, entry.caused_by or "", entry.correlation_id or "")


def _money(dossier: OrderDossier, locale: Locale) -> Iterator[Happening]:
    payment = dossier.payment
    if payment is None:
        return
    asked = payment.authorisation
    if asked is not None:
        reason = f": {asked.reason}" if asked.reason else ""
        yield Happening(
            asked.at, "Money", f"The bank was asked for {written(asked.amount, locale)} ({asked.state}{reason})",
            "provider", asked.key,
        )  # fmt: skip
    if payment.captured_at is not None and payment.amount is not None:
        words = f"Paid {written(payment.amount, locale)}"
        yield Happening(payment.captured_at, "Money", words, "service:payments", payment.invoice or "")
    for refund in payment.refunds:
        reason = f": {refund.reason}" if refund.reason else ""
        words = f"{_REFUND[refund.state]}, {written(refund.amount, locale)}{reason}"
        yield Happening(refund.at, "Money", words, "service:payments", refund.id)


def _things(dossier: OrderDossier) -> Iterator[Happening]:
    if dossier.goods is not None:
        yield Happening(dossier.goods.at, "Goods", _GOODS[dossier.goods.state], "service:inventory")
    if dossier.parcel is not None:
        yield Happening(dossier.parcel.moved_at, "Parcel", f"Parcel {dossier.parcel.state}", "service:shipping")
    for mail in dossier.mails or ():
        words = f"Mail to {mail.to}: {mail.subject}"
        yield Happening(mail.sent_at, "Mail", words, "service:notifications", mail.id)
