"""Services that know each other by certificates, for the tests of them and the attacks on them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from mtls_party import DOMAIN, serving

from archstone.security.authority import Authority


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create(DOMAIN)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Path:
    """Return a folder with a folder of each service."""
    found = tmp_path_factory.mktemp("tls")
    for name in ("desk", "orders", "other"):
        authority.give(name, found / name)
    return found


@pytest.fixture(scope="module")
def port(tls: Path) -> Iterator[int]:
    with serving(tls / "desk", "orders", "expired") as port:
        yield port
