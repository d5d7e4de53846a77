from collections.abc import Iterator

import pytest
from valkey_for_tests import ValkeyServer, valkey_server


@pytest.fixture
def own_server() -> Iterator[ValkeyServer]:
    """A server that the test may stop and kill."""
    with valkey_server() as server:
        yield server
