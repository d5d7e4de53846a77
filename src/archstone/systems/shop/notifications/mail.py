"""What the shop writes to its customers, in their language. Pure: the same event gives the same mail."""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import StringConstraints

from archstone.systems.shop.notifications.contract import About
from archstone.systems.shop.orders.events import OrderCancelled, OrderConfirmed, OrderRefunded
from archstone.systems.shop.users.events import (
    EmailChangeAsked,
    EmailChanged,
    PasswordChanged,
    PasswordResetAsked,
    SecurityChanged,
    SignUpAsked,
)
from archstone.systems.shop.values import OrderId, Value, VisibleText

__all__ = [
    "Language",
    "Mail",
    "cancelled_mail",
    "confirmed_mail",
    "email_changed_mail",
    "email_mail",
    "password_mail",
    "refunded_mail",
    "reset_mail",
    "security_mail",
    "sign_up_mail",
]

Language = Literal["en", "de"]


class Mail(Value):
    """One e-mail about one fact."""

    id: Annotated[str, StringConstraints(pattern=r"^[0-9a-zA-Z-]{1,80}$")]
    """Id of the event that it tells of; two mails with one id are one mail."""
    to: Annotated[str, StringConstraints(min_length=3, max_length=254, pattern=r"^[^\s\x00-\x1f\x7f]+$")]
    """An address as `users` keeps it: checked when it was given, and dear to check again for each mail."""
    subject: VisibleText
    text: str
    about: About | Literal["password", "security", "reset", "email", "sign-up"]
    order_id: OrderId | None
    """None: it is about the account."""
    at: datetime
    """When the fact happened."""


_WORDS: Final = {
    "en": {
        "confirmed": "Your order {order} is confirmed",
        "cancelled": "Your order {order} is cancelled",
        "refunded": "We give you money back for your order {order}",
        "hello": "Hello {name},",
        "thanks": "thank you for your order. It is paid, and we are packing it:",
        "sorry": "your order has been cancelled: {reason}.",
        "money": "No money has been kept. It was about:",
        "total": "Total: {total}",
        "back": "we have given you back {amount} of what you paid for your order.",
        "why": "The reason: {reason}.",
        "so_far": "Given back so far: {refunded} of {total}",
        "password": "Your password was changed",
        "changed": "the password of your account was changed on {at}. Every other device was signed out.",
        "not_you": "If that was not you, answer this mail at once: we will close the account until it is yours again.",
        "security": "The security of your account was changed",
        "totp-added": "from {at} on, signing in asks for a code of an app as well. Every other device was signed out.",
        "totp-removed": "since {at} signing in asks for a code no more. Every other device was signed out.",
        "codes-renewed": "new backup codes were made for your account on {at}. The old ones do not work any more.",
        "code-used": "somebody signed in with one of your backup codes on {at}. It does not work a second time.",
        "passkey-added": "a passkey was added to your account on {at}.",
        "passkey-removed": "a passkey was removed from your account on {at}.",
        "reset": "Another password for your account",
        "asked": "somebody, probably you, has asked for another password for your account on {at}.",
        "link": "Open this page within ten minutes to choose one:",
        "other_site": "If the page is not at the shop's own address, do not use it.",
        "nothing": "If that was not you, there is nothing to do: your password stays as it is.",
        "email": "Is this your new address?",
        "wanted": "somebody, probably you, wants this address for an account of ours ({at}).",
        "hour": "Open this page within an hour to say that it is right:",
        "not_mine": "If that was not you, there is nothing to do: nothing changes without this page.",
        "email-changed": "Your account has another address",
        "moved": "since {at} your account has another address of mail. You were signed out everywhere.",
        "not_moved": "If that was not you, open this page within seven days. The account comes back to this address,"
        " and you choose another password:",
        "was_you": "If it was you, there is nothing to do.",
        "sign-up": "Your account at Archstone Shop",
        "welcome": "Hello,",
        "joining": "somebody, probably you, wants to make an account with this address ({at}).",
        "open": "Open this page within an hour to choose a name and a password:",
        "no_account": "If that was not you, there is nothing to do: there is no account without this page.",
        "is_there": "You have one already. Sign in, or choose another password if you have forgotten it:",
        "no_harm": "If that was not you, there is nothing to do: your account is as it was.",
        "bye": "Archstone Shop",
    },
    "de": {
        "confirmed": "Ihre Bestellung {order} ist bestätigt",
        "cancelled": "Ihre Bestellung {order} ist storniert",
        "refunded": "Sie bekommen Geld zurück für Ihre Bestellung {order}",
        "hello": "Guten Tag {name},",
        "thanks": "danke für Ihre Bestellung. Sie ist bezahlt, und wir packen sie gerade:",
        "sorry": "Ihre Bestellung wurde storniert: {reason}.",
        "money": "Es wurde kein Geld einbehalten. Es ging um:",
        "total": "Summe: {total}",
        "back": "wir haben Ihnen {amount} für Ihre Bestellung erstattet.",
        "why": "Der Grund: {reason}.",
        "so_far": "Bisher erstattet: {refunded} von {total}",
        "password": "Ihr Passwort wurde geändert",
        "changed": "das Passwort Ihres Kontos wurde geändert ({at}). Alle anderen Geräte sind abgemeldet.",
        "not_you": "Waren Sie das nicht, antworten Sie bitte sofort: Wir sperren das Konto, bis es wieder Ihres ist.",
        "security": "Die Sicherheit Ihres Kontos wurde geändert",
        "totp-added": "seit {at} braucht die Anmeldung auch einen Code der App. Alle anderen Geräte sind abgemeldet.",
        "totp-removed": "seit {at} braucht die Anmeldung keinen Code mehr. Alle anderen Geräte sind abgemeldet.",
        "codes-renewed": "für Ihr Konto wurden neue Ersatzcodes erzeugt ({at}). Die alten gelten nicht mehr.",
        "code-used": "jemand hat sich mit einem Ihrer Ersatzcodes angemeldet ({at}). Er gilt kein zweites Mal.",
        "passkey-added": "Ihrem Konto wurde ein Passkey hinzugefügt ({at}).",
        "passkey-removed": "von Ihrem Konto wurde ein Passkey entfernt ({at}).",
        "reset": "Ein anderes Passwort für Ihr Konto",
        "asked": "jemand, vermutlich Sie, möchte ein anderes Passwort für Ihr Konto ({at}).",
        "link": "Öffnen Sie diese Seite innerhalb von zehn Minuten, um eines zu wählen:",
        "other_site": "Steht die Seite nicht unter der eigenen Adresse des Shops, benutzen Sie sie nicht.",
        "nothing": "Waren Sie das nicht, ist nichts zu tun: Ihr Passwort bleibt, wie es ist.",
        "email": "Ist das Ihre neue Adresse?",
        "wanted": "jemand, vermutlich Sie, möchte diese Adresse für ein Konto bei uns ({at}).",
        "hour": "Öffnen Sie diese Seite innerhalb einer Stunde, um sie zu bestätigen:",
        "not_mine": "Waren Sie das nicht, ist nichts zu tun: Ohne diese Seite ändert sich nichts.",
        "email-changed": "Ihr Konto hat eine andere Adresse",
        "moved": "Ihr Konto hat jetzt eine andere E-Mail-Adresse ({at}). Sie sind überall abgemeldet.",
        "not_moved": "Waren Sie das nicht, öffnen Sie diese Seite innerhalb von sieben Tagen. Das Konto kommt zu dieser"
        " Adresse zurück, und Sie wählen ein anderes Passwort:",
        "was_you": "Waren Sie es, ist nichts zu tun.",
        "sign-up": "Ihr Konto beim Archstone Shop",
        "welcome": "Guten Tag,",
        "joining": "jemand, vermutlich Sie, möchte mit dieser Adresse ein Konto anlegen ({at}).",
        "open": "Öffnen Sie diese Seite innerhalb einer Stunde, um Namen und Passwort zu wählen:",
        "no_account": "Waren Sie das nicht, ist nichts zu tun: Ohne diese Seite entsteht kein Konto.",
        "is_there": "Sie haben schon eines. Melden Sie sich an, oder wählen Sie ein anderes Passwort:",
        "no_harm": "Waren Sie das nicht, ist nichts zu tun: Ihr Konto ist, wie es war.",
        "bye": "Archstone Shop",
    },
}


def confirmed_mail(event: OrderConfirmed, *, mail_id: str, to: str, name: str, language: Language) -> Mail:
    """Return the mail that tells of a confirmed order."""
    words = _WORDS[language]
    text = [words["hello"].format(name=name), "", words["thanks"], "", *_goods(event, language)]
    return _mail(event, mail_id=mail_id, to=to, about="confirmed", language=language, text=text)


def cancelled_mail(event: OrderCancelled, *, mail_id: str, to: str, name: str, language: Language) -> Mail:
    """Return the mail that tells of a cancelled order, and why."""
    words = _WORDS[language]
    sorry = words["sorry"].format(reason=event.reason.rstrip("."))
    text = [words["hello"].format(name=name), "", sorry, words["money"], "", *_goods(event, language)]
    return _mail(event, mail_id=mail_id, to=to, about="cancelled", language=language, text=text)


def refunded_mail(event: OrderRefunded, *, mail_id: str, to: str, name: str, language: Language) -> Mail:
    """Return the mail that tells of money that was given back, and why."""
    words = _WORDS[language]
    back, why = words["back"].format(amount=event.amount), words["why"].format(reason=event.reason.rstrip("."))
    so_far = words["so_far"].format(refunded=event.refunded, total=event.total)
    text = [words["hello"].format(name=name), "", back, why, "", so_far]
    return _mail(event, mail_id=mail_id, to=to, about="refunded", language=language, text=text)


def password_mail(event: PasswordChanged, *, mail_id: str, to: str, name: str, language: Language) -> Mail:
    """Return the mail that tells of a new password, for the case that somebody else has set it."""
    words = _WORDS[language]
    changed = words["changed"].format(at=_at(event.at))
    text = [words["hello"].format(name=name), "", changed, words["not_you"]]
    return Mail(
        id=mail_id, to=to, subject=words["password"], text=_signed(text, language), about="password", order_id=None,
        at=event.at,
    )  # fmt: skip


def security_mail(event: SecurityChanged, *, mail_id: str, to: str, name: str, language: Language) -> Mail:
    """Return the mail that tells of another second factor, for the case that somebody else has changed it."""
    words = _WORDS[language]
    text = [words["hello"].format(name=name), "", words[event.what].format(at=_at(event.at)), words["not_you"]]
    return Mail(
        id=mail_id, to=to, subject=words["security"], text=_signed(text, language), about="security", order_id=None,
        at=event.at,
    )  # fmt: skip


def reset_mail(event: PasswordResetAsked, *, mail_id: str, to: str, name: str, language: Language, link: str) -> Mail:
    """Return the mail with the link to choose another password."""
    words = _WORDS[language]
    asked = words["asked"].format(at=_at(event.at))
    text = [words["hello"].format(name=name), "", asked, words["link"], "", link, "", words["other_site"]]
    return Mail(
        id=mail_id, to=to, subject=words["reset"], text=_signed([*text, words["nothing"]], language), about="reset",
        order_id=None, at=event.at,
    )  # fmt: skip


def email_mail(event: EmailChangeAsked, *, mail_id: str, to: str, name: str, language: Language, link: str) -> Mail:
    """Return the mail to a new address, with the link that says that it is right."""
    words = _WORDS[language]
    hello, wanted = words["hello"].format(name=name), words["wanted"].format(at=_at(event.at))
    text = [hello, "", wanted, words["hour"], "", link, "", words["other_site"], words["not_mine"]]
    return Mail(
        id=mail_id, to=to, subject=words["email"], text=_signed(text, language), about="email", order_id=None,
        at=event.at,
    )  # fmt: skip


def email_changed_mail(event: EmailChanged, *, mail_id: str, to: str, name: str, language: Language, link: str) -> Mail:
    """Return the mail to the address of before, with the link that undoes the change. It does not name the new one."""
    words = _WORDS[language]
    hello, moved = words["hello"].format(name=name), words["moved"].format(at=_at(event.at))
    text = [hello, "", moved, words["was_you"], words["not_moved"], "", link, "", words["other_site"]]
    return Mail(
        id=mail_id, to=to, subject=words["email-changed"], text=_signed(text, language), about="email", order_id=None,
        at=event.at,
    )  # fmt: skip


def sign_up_mail(
    event: SignUpAsked, *, mail_id: str, to: str, language: Language, name: str | None, links: tuple[str, ...]
) -> Mail:
    """Return the mail to an address that somebody wants an account with. `name`: of who has one; None: nobody."""
    words = _WORDS[language]
    joining = words["joining"].format(at=_at(event.at))
    if name is None:
        text = [words["welcome"], "", joining, words["open"], "", *links, "", words["other_site"], words["no_account"]]
    else:
        hello = words["hello"].format(name=name)
        text = [hello, "", joining, words["is_there"], "", *links, "", words["no_harm"]]
    return Mail(
        id=mail_id, to=to, subject=words["sign-up"], text=_signed(text, language), about="sign-up", order_id=None,
        at=event.at,
    )  # fmt: skip


def _at(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _signed(text: list[str], language: Language) -> str:
    return "\n".join([*text, "", _WORDS[language]["bye"], ""])


def _goods(event: OrderConfirmed | OrderCancelled, language: Language) -> list[str]:
    lines = [f"  {line.quantity} x {line.name} ({line.sku})  {line.total}" for line in event.lines]
    return [*lines, "", _WORDS[language]["total"].format(total=event.total)]


def _mail(
    event: OrderConfirmed | OrderCancelled | OrderRefunded,
    *,
    mail_id: str,
    to: str,
    about: About,
    language: Language,
    text: list[str],
) -> Mail:
    words = _WORDS[language]
    return Mail(
        id=mail_id,
        to=to,
        subject=words[about].format(order=event.order_id[-8:]),
        text=_signed(text, language),
        about=about,
        order_id=event.order_id,
        at=event.at,
    )
