"""The post: exactly one file per mail whatever crashes, and a mail server that gets a stable Message-ID."""

import asyncio
import os
import signal
import socketserver
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import example, given
from hypothesis import strategies as st

from archstone import world
from archstone.errors import ConfigError
from archstone.systems.shop.notifications import mailer as mailer_module
from archstone.systems.shop.notifications.mail import Mail
from archstone.systems.shop.notifications.mailer import FileMailer, MailerError, SmtpMailer, open_mailer

MAIL = Mail(
    id="a1",
    to="ann@example.com",
    subject="Ihre Bestellung ist bestätigt",
    text="Guten Tag,\n\nfünf Äpfel.\n",
    about="confirmed",
    order_id="0" * 32,
    at=datetime(2026, 3, 1, 12, tzinfo=UTC),
)


async def test_a_mail_is_one_file_with_its_content(tmp_path: Path) -> None:
    async with FileMailer(tmp_path / "mails") as mailer:
        await mailer.send(MAIL)
    assert [file.name for file in (tmp_path / "mails").iterdir()] == ["a1.eml"]
    mail = message_from_bytes((tmp_path / "mails" / "a1.eml").read_bytes(), policy=policy.SMTPUTF8)
    assert mail["To"] == "ann@example.com"
    assert mail["Subject"] == "Ihre Bestellung ist bestätigt"
    assert mail["Message-ID"] == "<a1@archstone.example>"
    assert mail["Date"] == "Sun, 01 Mar 2026 12:00:00 +0000"
    assert mail.get_content().replace("\r\n", "\n") == MAIL.text  # type: ignore[attr-defined]


async def test_the_same_mail_is_sent_once_at_once_and_later(tmp_path: Path) -> None:
    async with FileMailer(tmp_path) as mailer:
        await asyncio.gather(*(mailer.send(MAIL) for _ in range(10)))
        await mailer.send(MAIL)
        assert (mailer.sends, mailer.repeats) == (1, 10)
    async with FileMailer(tmp_path) as mailer:
        await mailer.send(MAIL.model_copy(update={"text": "something else"}))
        assert (mailer.sends, mailer.repeats) == (0, 1)
    assert "fünf" in (tmp_path / "a1.eml").read_text()


async def test_what_a_crash_left_aside_is_swept_at_the_next_start(tmp_path: Path) -> None:
    (tmp_path / ".a1.0.aside").write_text("half a mail")
    async with FileMailer(tmp_path) as mailer:
        assert list(tmp_path.iterdir()) == []
        await mailer.send(MAIL)
    assert [file.name for file in tmp_path.iterdir()] == ["a1.eml"]


@pytest.mark.real_time
@pytest.mark.parametrize("point", [mailer_module.AFTER_ASIDE, mailer_module.AFTER_LINK])
async def test_a_kill_at_any_point_leaves_at_most_one_whole_mail(tmp_path: Path, point: str) -> None:
    program = f"""
import asyncio, pathlib
from archstone.systems.shop.notifications.mail import Mail
from archstone.systems.shop.notifications.mailer import FileMailer
mail = Mail.model_validate_json({MAIL.model_dump_json()!r})
async def main():
    async with FileMailer(pathlib.Path({str(tmp_path)!r})) as mailer:
        await mailer.send(mail)
asyncio.run(main())
"""
    environment = {**os.environ, world.CRASH_VARIABLE: point}
    killed = subprocess.run([sys.executable, "-c", program], env=environment, check=False, timeout=30)
    assert killed.returncode == -signal.SIGKILL
    async with FileMailer(tmp_path) as mailer:
        await mailer.send(MAIL)
    assert [file.name for file in tmp_path.iterdir()] == ["a1.eml"]
    assert "fünf" in (tmp_path / "a1.eml").read_text()


async def test_a_full_or_missing_folder_is_told_with_its_name(tmp_path: Path) -> None:
    async with FileMailer(tmp_path / "mails") as mailer:
        (tmp_path / "mails").rmdir()
        with pytest.raises(MailerError, match="mail a1 was not sent"):
            await mailer.send(MAIL)
        (tmp_path / "mails").mkdir()
        await mailer.send(MAIL)
        assert mailer.sends == 1


class PostOffice(socketserver.StreamRequestHandler):
    """As much SMTP as it takes to receive a mail."""

    received: list[bytes] = []
    tls: ssl.SSLContext | None = None
    """Offers STARTTLS with it, and takes nothing before. None: does not know it."""
    passwords: list[bytes] = []
    secured: ssl.SSLSocket | None = None

    def handle(self) -> None:
        self.wfile.write(b"220 post\r\n")
        while line := self.rfile.readline():
            match line.split()[0].upper():
                case b"EHLO":
                    offered = b"250-STARTTLS\r\n" if self.tls else b""
                    self.wfile.write(b"250-post\r\n" + offered + b"250-AUTH PLAIN\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n")
                case b"STARTTLS" if self.tls:
                    self.wfile.write(b"220 go on\r\n")
                    try:
                        secured = self.tls.wrap_socket(self.request, server_side=True)
                    except ssl.SSLError:
                        return
                    self.rfile, self.wfile = secured.makefile("rb"), secured.makefile("wb", buffering=0)
                    self.secured = secured
                case b"AUTH":
                    self.passwords.append(line)
                    self.wfile.write(b"235 fine\r\n")
                case b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    lines = iter(self.rfile.readline, b".\r\n")
                    self.received.append(b"".join(lines))
                    self.wfile.write(b"250 taken\r\n")
                case b"QUIT":
                    self.wfile.write(b"221 bye\r\n")
                    return
                case _:
                    self.wfile.write(b"250 fine\r\n")

    def finish(self) -> None:
        super().finish()
        if self.secured is not None:
            self.secured.close()


@pytest.fixture
def post_office() -> Iterator[tuple[str, list[bytes]]]:
    PostOffice.received, PostOffice.passwords, PostOffice.tls = [], [], None
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), PostOffice) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"smtp://127.0.0.1:{server.server_address[1]}", PostOffice.received
        server.shutdown()
        thread.join()


@pytest.mark.real_time
async def test_a_mail_server_gets_a_repeat_with_the_same_message_id(post_office: tuple[str, list[bytes]]) -> None:
    url, received = post_office
    async with SmtpMailer(url) as mailer:
        await mailer.send(MAIL)
        await mailer.send(MAIL)
        assert mailer.sends == 2
    assert len(received) == 2
    assert received[0] == received[1]
    assert message_from_bytes(received[0], policy=policy.SMTPUTF8)["Message-ID"] == "<a1@archstone.example>"


@pytest.mark.real_time
async def test_a_mail_server_that_is_away_is_told_without_its_password() -> None:
    async with SmtpMailer("smtp://ann:secret@127.0.0.1:1") as mailer:
        with pytest.raises(MailerError) as caught:
            await mailer.send(MAIL)
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(mailer)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for localhost that nobody trusts, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    begins = datetime.now(UTC) - timedelta(days=1)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(begins).not_valid_after(begins + timedelta(days=3))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = tmp_path / "post.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    return file


def offering(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.mark.real_time
async def test_attack_a_mail_server_in_the_middle(
    post_office: tuple[str, list[bytes]], certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, received = post_office
    PostOffice.tls = offering(certificate)
    place = url.rpartition(":")[2]

    async def send(scheme: str, host: str = "localhost") -> None:
        await SmtpMailer(f"{scheme}://ann:secret@{host}:{place}").send(MAIL)

    async def refused(scheme: str) -> None:
        with pytest.raises(MailerError):
            await send(scheme)
        assert (received, PostOffice.passwords) == ([], [])

    await refused("smtp+starttls")  # a certificate that nobody trusts
    PostOffice.tls = None
    await refused("smtp+starttls")  # STARTTLS taken out of the list
    monkeypatch.setattr(mailer_module, "_is_here", lambda host: False)
    await refused("smtp")
    # Weak: smtplib's own context trusts everybody.
    PostOffice.tls = offering(certificate)
    monkeypatch.setattr(ssl, "create_default_context", ssl._create_unverified_context)
    with pytest.raises(pytest.fail.Exception):
        await refused("smtp+starttls")
    assert len(received) == 1


@pytest.mark.real_time
async def test_a_mail_goes_over_tls_to_a_server_whose_certificate_is_trusted(
    post_office: tuple[str, list[bytes]], certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, received = post_office
    PostOffice.tls = offering(certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    place = url.rpartition(":")[2]
    await SmtpMailer(f"smtp+starttls://ann:secret@localhost:{place}").send(MAIL)
    assert (len(received), len(PostOffice.passwords)) == (1, 1)
    with pytest.raises(MailerError):
        await SmtpMailer(f"smtp+starttls://ann:secret@127.0.0.1:{place}").send(MAIL)  # of another name
    assert len(received) == 1


def test_a_url_that_names_no_mailer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="smtps://"):
        open_mailer("http://example.com", tmp_path)


@given(
    to=st.sampled_from(["ann@example.com", "änn@exämple.com", "o'neill+shop@a.example", '"a b"@example.com']),
    subject=st.text(min_size=1, max_size=90),
    text=st.text(max_size=300) | st.lists(st.text(max_size=80)).map("\n".join),
)
@example(to="ann@example.com", subject="Your order 1 is confirmed", text="Hello,\n\n  1 x lamp\n\nTotal: 8.90 EUR\n")
@example(to="ann@example.com", subject="Ihre Bestellung ist bestätigt", text="")
@example(to="ann@example.com", subject="=?utf-8?q?x?=", text="x" * 200)
def test_a_mail_written_down_by_hand_is_what_the_standard_library_makes(to: str, subject: str, text: str) -> None:
    mail = MAIL.model_copy(update={"to": to, "subject": subject, "text": text})
    try:
        expected = mailer_module.composed(mail).as_bytes()
    except (ValueError, IndexError, UnicodeError) as refused:
        with pytest.raises(type(refused)):
            mailer_module.encoded(mail)
        return
    assert mailer_module.encoded(mail) == expected
