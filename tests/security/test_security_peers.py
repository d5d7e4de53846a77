"""Services in two processes that know each other; certificates that are issued, kept, renewed. On real sockets."""

import asyncio
import datetime as dt
from pathlib import Path

import pytest
from audited_party import Safe
from cryptography import x509
from mtls_contract import Desk
from mtls_party import DOMAIN, calling, serving

from archstone import context, world
from archstone.context import Call, Principal, Program
from archstone.errors import ConfigError
from archstone.security import KeyFile, PrincipalAssertions
from archstone.security.authority import IDENTITY, Authority, renewing, service_uri
from archstone.security.errors import InsecureKeyFileError, KeyFileError
from archstone.security.mtls import Identity, IdentityFileError, PeerError, peer_of
from archstone.services import client
from archstone.services.http import HttpTransport, UnreachableError


@pytest.mark.real_time
async def test_a_caller_with_a_certificate_is_the_service_it_says(port: int, tls: Path) -> None:
    async with calling(port, tls / "orders") as desk:
        assert await desk.who() == "service:orders"
        assert await desk.who() == "service:orders"


@pytest.mark.real_time
async def test_what_a_program_does_for_somebody_is_on_record_in_the_process_that_does_it(tmp_path: Path) -> None:
    codec = PrincipalAssertions(KeyFile(tmp_path / "keys.json").load(), system="safe")
    ann = Principal("ann", frozenset({"customer"}))
    key = ann._replace(scopes=frozenset({"safe:write"}), by=Program("key:7", per_minute=60))
    with serving(tmp_path, child="audited_party.py") as port:
        async with HttpTransport(f"http://127.0.0.1:{port}", principals=codec) as transport:
            safe = client(Safe, transport)
            for number, principal in enumerate((ann, key)):
                with context.enter(Call(principal, key=f"take-{number}")):
                    await safe.take(f"coin-{number}")
            with context.enter(Call(ann)):
                assert await safe.records() == ('ann coin-1 {"by":"key:7"}', "ann coin-0 {}")


@pytest.mark.real_time
async def test_certificates_and_authority_are_replaced_while_requests_go_on(tmp_path: Path) -> None:
    authority = Authority.create(DOMAIN)
    folders = {name: tmp_path / name for name in ("desk", "orders")}
    authority.give_all(folders)
    with serving(folders["desk"]) as port:
        identity = Identity(folders["orders"], domain=DOMAIN)
        async with HttpTransport(f"https://127.0.0.1:{port}", tls=identity.calling("desk")) as old:
            desk = client(Desk, old)
            assert await desk.who() == "service:orders"
            kept = old._pool._idle[0]
            before = await serial_at(port, identity)
            authority = authority.rotated()
            authority.give_all(folders)
            assert await desk.who() == "service:orders"
            assert old._pool._idle[0] is not kept, "it would outlive its certificate, and be refused then"
            assert not kept.open
        async with HttpTransport(f"https://127.0.0.1:{port}", tls=identity.calling("desk")) as new:
            assert await client(Desk, new).who() == "service:orders"
        assert await serial_at(port, identity) != before, "new connections have the new certificate"
        # Another key, and nobody trusts the first one any more.
        last = Authority.create(DOMAIN)
        last.give_all(folders)
        async with HttpTransport(f"https://127.0.0.1:{port}", tls=identity.calling("desk")) as new:
            assert await client(Desk, new).who() == "service:orders"
        authority.give("orders", tmp_path / "late")
        async with calling(port, tmp_path / "late") as desk:
            with pytest.raises(UnreachableError):
                await desk.who()


@pytest.mark.real_time
async def test_a_client_in_constant_use_goes_on_when_its_first_certificate_has_ended(tmp_path: Path) -> None:
    authority = Authority.create(DOMAIN)
    authority.give("desk", tmp_path / "desk")
    with serving(tmp_path / "desk", "orders") as port:
        authority.give("orders", tmp_path / "orders", lifetime_s=2.0)
        identity = Identity(tmp_path / "orders", domain=DOMAIN)
        async with HttpTransport(f"https://127.0.0.1:{port}", tls=identity.calling("desk"), connections=1) as way:
            desk = client(Desk, way)
            ends = asyncio.get_running_loop().time() + 3
            renewed = False
            while asyncio.get_running_loop().time() < ends:
                # Two at once on one connection: it is handed on without ever lying idle.
                assert await asyncio.gather(desk.who(), desk.who()) == ["service:orders"] * 2
                if not renewed:
                    authority.give("orders", tmp_path / "orders")
                    renewed = True


def test_a_key_that_others_can_read_is_refused_and_what_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(IdentityFileError, match=r"certificates in .*desk: .*have the authority write them there"):
        Identity(tmp_path / "desk", domain=DOMAIN)
    authority = Authority.create(DOMAIN)
    authority.give("desk", tmp_path / "desk")
    identity = Identity(tmp_path / "desk", domain=DOMAIN)
    (tmp_path / "desk" / IDENTITY).chmod(0o640)
    with pytest.raises(InsecureKeyFileError, match="mode 0640 lets others in"):
        Identity(tmp_path / "desk", domain=DOMAIN)
    identity.client()  # who has read it before goes on


async def serial_at(port: int, identity: Identity) -> str:
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=identity.client())
    serial = str(writer.get_extra_info("peercert")["serialNumber"])
    writer.close()
    return serial


async def test_a_peer_whose_certificate_ends_while_it_is_connected_is_refused() -> None:
    ends = (world.now() + dt.timedelta(seconds=30)).strftime("%b %d %H:%M:%S %Y GMT")
    peer = {"subjectAltName": (("URI", service_uri(DOMAIN, "orders")),), "notAfter": ends}
    scope = {"type": "http", "headers": [], "extensions": {"archstone.peer": peer}}
    assert peer_of(scope, DOMAIN) == "orders"
    await asyncio.sleep(31)
    with pytest.raises(PeerError, match="has ended"):
        peer_of(scope, DOMAIN)


def test_a_certificate_is_short_lived_for_both_ends_and_issues_nothing(authority: Authority) -> None:
    issued = authority.issue("orders", lifetime_s=3600)
    leaf = x509.load_pem_x509_certificate(issued.certificate)
    extensions = leaf.extensions
    assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.UniformResourceIdentifier("spiffe://shop.internal/service/orders")]
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.digital_signature, usage.key_cert_sign) == (True, False)
    assert leaf.signature_hash_algorithm.name == "sha256"
    assert leaf.public_key().curve.name == "secp256r1"
    assert abs((leaf.not_valid_after_utc - world.now()).total_seconds() - 3600) < 5
    assert "PRIVATE" not in repr(issued)
    for wrong in ("Orders", "", "a/b", "../x", "a" * 64):
        with pytest.raises(ConfigError):
            authority.issue(wrong)


def test_the_authority_is_kept_in_a_file_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "authority.pem"
    made = Authority.load(path, DOMAIN)
    assert path.stat().st_mode & 0o777 == 0o600
    assert Authority.load(path, DOMAIN).trusted == made.trusted
    made.rotated().save(path)
    again = Authority.load(path, DOMAIN)
    assert again.trusted != made.trusted
    assert made.trusted in again.trusted
    with pytest.raises(KeyFileError, match="no authority of other"):
        Authority.load(path, "other")
    path.chmod(0o644)
    with pytest.raises(InsecureKeyFileError):
        Authority.load(path, DOMAIN)
    broken = tmp_path / "broken.pem"
    broken.touch(0o600)
    with pytest.raises(KeyFileError):
        Authority.load(broken, DOMAIN)
    with pytest.raises(KeyFileError):
        Identity(tmp_path / "nothing", domain=DOMAIN)


async def test_certificates_are_renewed_before_they_end(tmp_path: Path) -> None:
    authority = Authority.create(DOMAIN)
    folder = tmp_path / "orders"
    async with renewing(authority, {"orders": folder}, lifetime_s=3600):
        first = (folder / IDENTITY).read_bytes()
        assert (folder / IDENTITY).stat().st_mode & 0o777 == 0o600
        await asyncio.sleep(2390)
        assert (folder / IDENTITY).read_bytes() == first
        await asyncio.sleep(20)
        assert (folder / IDENTITY).read_bytes() != first
