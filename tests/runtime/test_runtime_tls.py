"""`archstone up` over TLS: its certificate, a new one at SIGHUP, http sent to https, and what is refused."""

import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from shop_process import free_port

from archstone.errors import ConfigError
from archstone.runtime import load_settings

ROOT = Path(__file__).parents[2]


def certificate(folder: Path, *, name: str = "door") -> tuple[Path, Path, int]:
    """Write a certificate for localhost that signs itself, and its key; return both and its serial number."""
    key, subject = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    encoding = serialization.Encoding.PEM
    cert_file.write_bytes(made.public_bytes(encoding))
    key_file.write_bytes(key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return cert_file, key_file, made.serial_number


@contextmanager
def up(data: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [
        sys.executable,
        "-m",
        "archstone.cli",
        "up",
        "examples.hello.hello:hello",
        "--plain",
        "--data",
        str(data),
    ]
    with (data.parent / "log").open("wb") as log:
        process = subprocess.Popen([*command, *words], cwd=ROOT, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def until_ready(url: str, trust: ssl.SSLContext, log: Path) -> None:
    for _ in range(300):
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/health/ready", verify=trust).status_code == 200:
                return
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def serial_at(port: int) -> int:
    return x509.load_pem_x509_certificate(ssl.get_server_certificate(("localhost", port)).encode()).serial_number


def test_the_front_door_over_tls(tmp_path: Path) -> None:
    cert, key, serial = certificate(tmp_path)
    port, plain = free_port(), free_port()
    trust = ssl.create_default_context(cafile=str(cert))
    words = ("--host", "localhost", "--port", str(port), "--tls-cert", str(cert), "--tls-key", str(key))
    with up(tmp_path / "data", *words, "--redirect-port", str(plain)) as process:
        url = f"https://localhost:{port}"
        until_ready(url, trust, tmp_path / "log")
        with httpx.Client(base_url=url, verify=trust) as http:
            answer = http.get("/api/v1/greetings/ann")
            assert (answer.status_code, answer.json()) == (200, 0)
            assert answer.headers["strict-transport-security"] == "max-age=31536000; includeSubDomains"
            assert serial_at(port) == serial
            # http is sent to https, and a plain request at the door of https gets nothing.
            sent = httpx.post(f"http://localhost:{plain}/api/v1/greetings?x=1", follow_redirects=False)
            assert (sent.status_code, sent.headers["location"]) == (308, f"{url}/api/v1/greetings?x=1")
            with pytest.raises(httpx.TransportError):
                httpx.get(f"http://localhost:{port}/health/live")
            # A new certificate: the open connection goes on, new ones have it.
            *_, second = certificate(tmp_path)
            os.kill(process.pid, signal.SIGHUP)
            for _ in range(100):
                if serial_at(port) == second:
                    break
                time.sleep(0.05)
            assert serial_at(port) == second
            assert http.get("/health/live").status_code == 200
            # Half a pair: the one that is there stays.
            key.write_text("no key")
            os.kill(process.pid, signal.SIGHUP)
            for _ in range(100):
                if "the certificate stays as it is" in (tmp_path / "log").read_text():
                    break
                time.sleep(0.05)
            assert serial_at(port) == second
        old = ssl.create_default_context(cafile=str(cert))
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        assert httpx.get(f"{url}/health/live", verify=old).status_code == 200
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{url}/health/live", verify=old)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0


def test_a_certificate_that_cannot_be_read_is_told_before_anything_is_opened(tmp_path: Path) -> None:
    cert, key, _ = certificate(tmp_path)
    key.write_text("no key")
    command = ["up", "examples.hello.hello:hello", "--plain", "--data", str(tmp_path / "data"), "--port", "0"]
    done = subprocess.run(
        [sys.executable, "-m", "archstone.cli", *command, "--tls-cert", str(cert), "--tls-key", str(key)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert f"tls_cert={cert}, tls_key={key}" in done.stderr
    assert not (tmp_path / "data").exists()


def test_settings_that_belong_together_are_given_together() -> None:
    with pytest.raises(ConfigError, match="belong together"):
        load_settings({"tls_cert": "cert.pem"}, environ={})
    with pytest.raises(ConfigError, match="redirect_port sends to https"):
        load_settings({"redirect_port": 80}, environ={})
    assert (
        load_settings({"tls_cert": "c", "tls_key": "k", "redirect_port": 80}, environ={}).settings.redirect_port == 80
    )
