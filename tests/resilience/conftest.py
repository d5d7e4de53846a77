import os
from collections.abc import Iterator

import pytest
from valkey_server import ValkeyServer


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A server that tests share: each takes names of its own."""
    if url := os.environ.get("ARCHSTONE_TEST_REDIS_URL"):
        yield url
        return
    server = ValkeyServer()
    server.start()
    yield server.url
    server.close()


@pytest.fixture
def own_server() -> Iterator[ValkeyServer]:
    """A server that the test may stop and kill."""
    server = ValkeyServer()
    server.start()
    yield server
    server.close()
