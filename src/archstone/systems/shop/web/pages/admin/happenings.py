"""Everything that ever happened to an order, from all who know of it, in one list by time."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final, Literal, NamedTuple
from urllib.parse import quote

from archstone.gateway import EventTold, Handling, Story
from archstone.systems.shop.orders.administration import OrderDossier
from archstone.systems.shop.web.money import Locale, written
from archstone.systems.shop.web.pages.admin.steering import instant

__all__ = ["Happening", "happenings"]

Kind = Literal["Order", "Money", "Parcel", "Goods", "Mail", "Step", "Event"]

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
    bad: bool = False
    """Whether somebody should look."""
    to: str | None = None
    """The page that tells more."""


def happenings(dossier: OrderDossier, story: Story | None, locale: Locale) -> tuple[Happening, ...]:
    """Return what happened, oldest first.

    Args:
        dossier: What the services know of the order.
        story: What the run knows of it: steps of sagas, and events. None: nothing.
        locale: How amounts are written.
    """
    found = [*_order(dossier), *_money(dossier, locale), *_things(dossier)]
    if story is not None:
        found += [*_steps(story), *_events(story)]
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
        words = f"Mail to {mail.to or 'an account that is deleted'}: {mail.subject}"
        yield Happening(mail.sent_at, "Mail", words, "service:notifications", mail.id)


def _steps(story: Story) -> Iterator[Happening]:
    for saga in story.sagas:
        for step in saga.steps:
            begun = instant(step.begun_us)
            if begun is None:
                continue
            took = "" if step.ended_us is None else f" in {(step.ended_us - (step.begun_us or 0)) / 1000:.1f} ms"
            tries = f", {step.attempts} attempts" if step.attempts > 1 else ""
            error = f": {step.error}" if step.error else ""
            yield Happening(
                begun, "Step", f"{step.operation} {step.state}{took}{tries}{error}", f"service:{saga.service}", step.id,
                bad=step.state == "failed" or (saga.status == "stuck" and step.ended_us is None),
                to=f"/admin/sagas/one?id={quote(saga.id)}",
            )  # fmt: skip


def _events(story: Story) -> Iterator[Happening]:
    for event in story.events:
        published = instant(event.published_us)
        if published is not None:
            dead = any(each.state == "dead" for each in event.handlings)
            yield Happening(
                published, "Event", _told(event), f"service:{event.service}" if event.service else "", event.id,
                bad=dead, to="/admin/letters" if dead else None,
            )  # fmt: skip


def _told(event: EventTold) -> str:
    if event.sent_us is None:
        return f"{event.name}, not sent yet"
    done = ", ".join(each.group for each in event.handlings if each.state == "handled")
    rest = [_open(each) for each in event.handlings if each.state != "handled"]
    return f"{event.name}: {'; '.join([*([f'handled by {done}'] if done else []), *rest]) or 'nobody wants it'}"


def _open(handling: Handling) -> str:
    tries = f" after {handling.attempts} attempts" if handling.attempts > 1 else ""
    error = f" ({handling.error})" if handling.error else ""
    return f"{handling.state} at {handling.group}{tries}{error}"
