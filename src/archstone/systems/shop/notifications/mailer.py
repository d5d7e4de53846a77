"""The port to the post, and its two adapters: files, and a mail server.

`FileMailer` writes exactly one file per fact, named by the mail's id, whatever crashes and however often it is asked.
`SmtpMailer` delivers at least once: a crash after the server took a mail and before we wrote that down sends it again,
with the same Message-ID, by which mail programs drop the second. No mail server promises more.
"""

import asyncio
import os
import re
import smtplib
import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from email.message import EmailMessage
from email.policy import SMTPUTF8
from email.utils import format_datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Protocol, Self
from urllib.parse import unquote, urlsplit

from archstone import disk, world
from archstone.errors import BackendError, ConfigError, RejectedError
from archstone.systems.shop.notifications.mail import Mail

__all__ = ["FileMailer", "Mailer", "MailerError", "MailerFullError", "SmtpMailer", "open_mailer"]

SENDER: Final = "Archstone Shop <shop@archstone.example>"
MAX_WAITING: Final = 1_000
LINE_BYTES: Final = 76
"""Longest line that the standard library neither folds nor encodes."""
_PORTS: Final = {"smtp": 25, "smtps": 465, "smtp+starttls": 587}
_PLAIN_ADDRESS: Final = re.compile(r"[A-Za-z0-9_.+-]+@[A-Za-z0-9.-]+").fullmatch
_PLAIN_SUBJECT: Final = re.compile(r"\w(?:[\w.,:#/-]| (?! ))*(?<! )").fullmatch

AFTER_ASIDE: Final = world.declare_point(
    "shop.mail_after_aside", "the mail is whole on disk under a temporary name; nobody would find it"
)
AFTER_LINK: Final = world.declare_point(
    "shop.mail_after_link", "the mail has its name; its saga does not know, and the folder is not synced"
)


class MailerError(BackendError, code="notifications.mailer"):
    """The mail could not be handed over. Send it again: a repeat does no harm."""

    def __init__(self, mailer: str, mail_id: str, problem: str) -> None:
        super().__init__(mailer, mail_id, problem)
        self.mailer = mailer
        self.mail_id = mail_id
        self.problem = problem

    def __str__(self) -> str:
        return f"mailer {self.mailer}: mail {self.mail_id} was not sent: {self.problem}; it is tried again"


class MailerFullError(RejectedError, code="notifications.mailer-full"):
    """More mails wait for the disk than the mailer holds."""

    def __init__(self, folder: str, waiting: int) -> None:
        super().__init__(folder, waiting)
        self.folder = folder
        self.waiting = waiting

    def __str__(self) -> str:
        return f"mailer {self.folder}: {self.waiting} mails wait, the limit is {MAX_WAITING}: try again later"


class Mailer(Protocol):
    """Hands mails over. Sending the same mail again is harmless, from any number of callers at once."""

    async def send(self, mail: Mail) -> None:
        """Return once the mail is handed over for good. Cancelled: it may have been.

        Raises:
            MailerError: it was not, as far as we know.
            MailerFullError: it was not tried.
        """
        ...


def composed(mail: Mail) -> EmailMessage:
    """Return the mail as it travels: the same mail gives the same bytes, so a repeat cannot differ."""
    message = EmailMessage(policy=SMTPUTF8)
    for name, value in _headers(mail):
        message[name] = value
    message.set_content(mail.text)
    return message


def encoded(mail: Mail) -> bytes:
    """Return the bytes of `composed(mail)`.

    The standard library makes a class for each header of each mail, which costs a quarter of a whole checkout. What
    needs no folding, quoting or transfer encoding, which is every ordinary mail, is written down here.
    """
    head = [f"{name}: {value}" for name, value in _headers(mail)]
    lines = mail.text.removesuffix("\n").split("\n")
    if not _PLAIN_ADDRESS(mail.to) or not _PLAIN_SUBJECT(mail.subject) or not _fit(head) or not _fit(lines):
        return composed(mail).as_bytes()
    transfer = "7bit" if mail.text.isascii() else "8bit"
    kind = f'Content-Type: text/plain; charset="utf-8"\r\nContent-Transfer-Encoding: {transfer}\r\nMIME-Version: 1.0'
    return "\r\n".join((*head, kind, "", *lines, "")).encode()


def _fit(lines: list[str]) -> bool:
    return all(line.isprintable() and len(line.encode()) <= LINE_BYTES for line in lines)


def _headers(mail: Mail) -> tuple[tuple[str, str], ...]:
    return (
        ("From", SENDER),
        ("To", mail.to),
        ("Subject", mail.subject),
        ("Date", format_datetime(mail.at)),
        ("Message-ID", f"<{mail.id}@archstone.example>"),
        ("Auto-Submitted", "auto-generated"),
        *(() if mail.order_id is None else (("X-Archstone-Order", mail.order_id),)),
        ("X-Archstone-About", mail.about),
    )


class FileMailer:
    """A folder of `.eml` files, exactly one per mail id.

    A mail is written aside, synced, linked to `<id>.eml` (which fails if that is there) and the folder synced: after a
    crash at any point the file is whole or absent. Mails that wait while the disk works share the next folder sync.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sends = 0
        """Mails that got their name by this object."""
        self.repeats = 0
        """Mails that had it already."""
        self._waiting: list[tuple[Mail, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        disk.remove_unfinished(self.folder)
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._writer is not None:
            await self._writer

    async def send(self, mail: Mail) -> None:
        """Return once `<id>.eml` is on disk. See `Mailer.send`."""
        if len(self._waiting) >= MAX_WAITING:
            raise MailerFullError(str(self.folder), len(self._waiting))
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((mail, done))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_waiting(), name="mailer")
        await done

    async def _write_waiting(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                await self._write_batch(batch)
        finally:
            self._writer = None

    async def _write_batch(self, batch: list[tuple[Mail, asyncio.Future[None]]]) -> None:
        loop = asyncio.get_running_loop()
        try:
            linked = await loop.run_in_executor(None, _write, self.folder, [mail for mail, _ in batch])
        except OSError as error:
            for mail, done in batch:
                if not done.done():
                    done.set_exception(MailerError(str(self.folder), mail.id, str(error)))
            return
        self.sends += linked
        self.repeats += len(batch) - linked
        for _, done in batch:
            if not done.done():
                done.set_result(None)


def _write(folder: Path, mails: list[Mail]) -> int:
    """Write mails and sync the folder once; return how many were not there before."""
    linked = 0
    for number, mail in enumerate(mails):
        final = folder / f"{mail.id}.eml"
        if final.exists():
            continue
        aside = folder / f".{mail.id}.{number}{disk.ASIDE}"
        try:
            disk.create(aside, encoded(mail), mode=0o600)
            world.point(AFTER_ASIDE)
            with suppress(FileExistsError):  # another process was first
                os.link(aside, final)
                linked += 1
            world.point(AFTER_LINK)
        finally:
            aside.unlink(missing_ok=True)
    # Also for repeats: the file may stand there from before a crash, its name not yet safe.
    disk.sync_folder(folder)
    return linked


class SmtpMailer:
    """A mail server, at least once with a stable Message-ID. A connection per mail, in a thread."""

    def __init__(self, url: str, *, timeout_s: float = 10.0) -> None:
        """Name the server; nothing connects yet.

        Args:
            url: `smtps://[user:password@]host[:port]`, or `smtp+starttls://…`: over TLS, with a certificate that is
                trusted and of that name, or not at all. `smtp://…` for a server on this machine; to another one over
                STARTTLS where that is offered, and never with a password where it is not.
            timeout_s: Seconds that the server has for each answer. Above 0.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:  # its text may hold the password
            parts, host, port = urlsplit(""), None, None
        if parts.scheme not in _PORTS or not host:
            told = "smtps://host[:port], smtp+starttls://host[:port], or smtp://host[:port] on this machine"
            raise ConfigError(f"mailer: the URL must be {told}")
        self._scheme = parts.scheme
        self._host = host
        self._port = port or _PORTS[parts.scheme]
        self._tls = ssl.create_default_context()
        self._login = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
        self._timeout_s = timeout_s
        self.sends = 0
        """Mails that the server took from this object."""

    def __repr__(self) -> str:
        return f"SmtpMailer({self._host}:{self._port})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Nothing is kept open between mails."""

    async def send(self, mail: Mail) -> None:
        """Return once the server has taken the mail. See `Mailer.send`."""
        try:
            await asyncio.get_running_loop().run_in_executor(None, self._deliver, composed(mail))
        except (OSError, smtplib.SMTPException) as error:
            raise MailerError(repr(self), mail.id, str(error)) from error
        self.sends += 1

    def _deliver(self, message: EmailMessage) -> None:
        with self._connected() as server:
            if self._login is not None:
                server.login(*self._login)
            server.send_message(message)

    def _connected(self) -> smtplib.SMTP:
        """Return a connection over which the mail may go. smtplib by itself would trust any certificate."""
        if self._scheme == "smtps":
            return smtplib.SMTP_SSL(self._host, self._port, timeout=self._timeout_s, context=self._tls)
        server = smtplib.SMTP(self._host, self._port, timeout=self._timeout_s)
        try:
            self._protect(server)
        except BaseException:
            server.close()
            raise
        return server

    def _protect(self, server: smtplib.SMTP) -> None:
        server.ehlo()
        must = self._scheme == "smtp+starttls"
        if not must and _is_here(self._host):
            return
        if server.has_extn("starttls"):
            server.starttls(context=self._tls)
        elif must or self._login is not None:
            raise smtplib.SMTPNotSupportedError("it offers no STARTTLS: nothing was sent")


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def open_mailer(url: str, folder: Path) -> AbstractAsyncContextManager[Mailer]:
    """Return the mailer that a URL names: `files` for the folder, a URL of `SmtpMailer` for a server."""
    make: Callable[[], AbstractAsyncContextManager[Mailer]]
    make = (lambda: FileMailer(folder)) if url == "files" else (lambda: SmtpMailer(url))
    return make()
