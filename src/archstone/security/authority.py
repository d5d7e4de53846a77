"""A small authority of one's own: it issues short-lived certificates by which services know each other.

    authority = Authority.load(data / "authority.pem", domain="shop.internal")     # made at the first start
    authority.give("orders", data / "tls" / "orders")                              # its certificate, and whom it trusts
    async with renewing(authority, {"orders": data / "tls" / "orders"}): ...       # before each one ends

Promise: ECDSA on P-256; a certificate holds a service's name as a URI (`spiffe://shop.internal/service/orders`), for a
day, for both ends of a connection, and can issue none itself. The key of the authority is in one file with mode 0600;
its next key is trusted everywhere before anything is signed with it. What was issued cannot be called back: it ends.
Not for: names that browsers know, other organisations, more than some hundred services. There, ACME or SPIRE.

Source: RFC 5280; SPIFFE X.509-SVID, sections 2 to 5.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from archstone import world
from archstone.errors import ConfigError
from archstone.observability import get_logger
from archstone.security.errors import KeyFileError
from archstone.security.private_files import read_private, write_private

__all__ = ["IDENTITY", "TRUSTED", "Authority", "Issued", "renewing", "service_uri"]

IDENTITY: Final = "identity.pem"
"""In a service's folder: its key and certificate."""
TRUSTED: Final = "trusted.pem"
"""In a service's folder: the certificates of the authority."""
LIFETIME_S: Final = 86_400.0
"""Of a service's certificate."""
_OWN_LIFETIME: Final = timedelta(days=3650)
_SKEW: Final = timedelta(minutes=5)
"""How far clocks may be behind."""
_KEPT: Final = 3
"""Keys of the authority: the one that signs, and those before it, whose certificates are still trusted."""
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?")

_log = get_logger("archstone.security")


def service_uri(domain: str, service: str) -> str:
    """Return the name of a service as a certificate has it."""
    return f"spiffe://{domain}/service/{service}"


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its key, PEM."""

    certificate: bytes
    key: bytes = field(repr=False)
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class _Signer:
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    certificate: x509.Certificate


class Authority:
    """Signs for one trust domain."""

    def __init__(self, domain: str, signers: tuple[_Signer, ...]) -> None:
        self.domain = _checked(domain, "domain")
        self._signers = signers

    @classmethod
    def create(cls, domain: str) -> Self:
        """Return a new one, kept nowhere: for tests and for tools."""
        return cls(domain, (_new_signer(_checked(domain, "domain")),))

    @classmethod
    def load(cls, path: Path, domain: str) -> Self:
        """Return the one that a file keeps; make it if there is none.

        Raises:
            InsecureKeyFileError: The mode of the file lets others in.
            KeyFileError: It cannot be read, or holds no authority of this domain.
        """
        found = read_private(path)
        if found is None:
            made = cls.create(domain)
            made.save(path)
            return made
        try:
            parts = [part for part in re.split(rb"(?=-----BEGIN PRIVATE KEY-----)", found) if part.strip()]
            signers = tuple(map(_signer_of, parts))
        except ValueError as error:
            raise KeyFileError(str(path), "what it holds is no authority") from error
        if not signers or any(_subject(each.certificate) != domain for each in signers):
            raise KeyFileError(str(path), f"it holds no authority of {domain}")
        return cls(domain, signers)

    def save(self, path: Path) -> None:
        """Write it to a file with mode 0600."""
        _keep(path, b"".join(_pem_of_key(each.key) + _pem(each.certificate) for each in self._signers))

    def rotated(self) -> Self:
        """Return it with a new key in front, which signs from now on; certificates of the last two keys are trusted on.

        `give_all` before anything else, or those who have not heard of the new key refuse what it signs.
        """
        return type(self)(self.domain, (_new_signer(self.domain), *self._signers[: _KEPT - 1]))

    @property
    def trusted(self) -> bytes:
        """The certificates by which others know what it has signed, PEM, the newest first."""
        return b"".join(_pem(each.certificate) for each in self._signers)

    def issue(self, service: str, *, lifetime_s: float = LIFETIME_S) -> Issued:
        """Return a new certificate for a service, with a key of its own.

        Args:
            service: Its name: lower case letters, digits, dashes and dots.
            lifetime_s: How long it holds. Above 0.
        """
        _checked(service, "service")
        signer, now = self._signers[0], world.now()
        key = ec.generate_private_key(ec.SECP256R1())
        ends_at = now + timedelta(seconds=lifetime_s)
        builder = _builder(service, key, now - _SKEW, ends_at).issuer_name(signer.certificate.subject)
        uri = x509.UniformResourceIdentifier(service_uri(self.domain, service))
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        authority_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())
        certificate = (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(both), critical=False)
            .add_extension(x509.SubjectAlternativeName([uri]), critical=False)
            .add_extension(authority_key, critical=False)
            .sign(signer.key, hashes.SHA256())
        )
        return Issued(_pem(certificate), _pem_of_key(key), ends_at)

    def give(self, service: str, folder: Path, *, lifetime_s: float = LIFETIME_S) -> Issued:
        """Write a new certificate, and whom to trust, into a service's folder, mode 0600. It takes them from there.

        Raises:
            KeyFileError: They cannot be written.
        """
        issued = self.issue(service, lifetime_s=lifetime_s)
        _keep(folder / TRUSTED, self.trusted)
        _keep(folder / IDENTITY, issued.key + issued.certificate)
        return issued

    def give_all(self, folders: Mapping[str, Path], *, lifetime_s: float = LIFETIME_S) -> datetime:
        """Give to every service, first whom to trust and then its certificate; return when the first of them ends."""
        for folder in folders.values():
            _keep(folder / TRUSTED, self.trusted)
        return min(self.give(name, folder, lifetime_s=lifetime_s).ends_at for name, folder in folders.items())


@asynccontextmanager
async def renewing(
    authority: Authority, folders: Mapping[str, Path], *, lifetime_s: float = LIFETIME_S
) -> AsyncGenerator[None]:
    """Give services their certificates, and new ones after two thirds of their life, as long as the block lasts.

    A renewal that fails is logged and tried again after a tenth of what is left: until the old ones end, nothing fails.
    """
    authority.give_all(folders, lifetime_s=lifetime_s)
    task = asyncio.create_task(_renew(authority, folders, lifetime_s), name="certificates")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _renew(authority: Authority, folders: Mapping[str, Path], lifetime_s: float) -> None:
    wait_s = lifetime_s * 2 / 3
    while True:
        await asyncio.sleep(wait_s)
        try:
            authority.give_all(folders, lifetime_s=lifetime_s)
            wait_s = lifetime_s * 2 / 3
        except KeyFileError as error:
            wait_s = max(1.0, lifetime_s / 30)
            _log.error("certificates could not be renewed", again_s=wait_s, exc_info=error)


def _new_signer(domain: str) -> _Signer:
    key, now = ec.generate_private_key(ec.SECP256R1()), world.now()
    certificate = (
        _builder(domain, key, now - _SKEW, now + _OWN_LIFETIME)
        .issuer_name(_name(domain))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return _Signer(key, certificate)


def _builder(name: str, key: ec.EllipticCurvePrivateKey, begins: datetime, ends: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .public_key(key.public_key())
        .serial_number(int.from_bytes(b"\x01" + world.secret_bytes(15)))
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates, key_cert_sign=signs_certificates, crl_sign=signs_certificates,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _signer_of(pem: bytes) -> _Signer:
    key = serialization.load_pem_private_key(pem, None)
    certificate = x509.load_pem_x509_certificate(pem[pem.index(b"-----BEGIN CERTIFICATE") :])
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise ValueError("key and certificate do not belong together")
    return _Signer(key, certificate)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _pem_of_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _subject(certificate: x509.Certificate) -> str:
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def _checked(name: str, what: str) -> str:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{what} {name!r}: its name must be lower case letters, digits, dashes and dots, at most 63")
    return name


def _keep(path: Path, content: bytes) -> None:
    """Write a private file into a folder that need not be there. KeyFileError if it cannot be."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise KeyFileError(str(path), error.strerror or str(error)) from error
    write_private(path, content)
