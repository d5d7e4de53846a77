"""What every store must do, executable: subclass `StoreConformance` and provide three fixtures.

    class TestMyStore(StoreConformance):
        unit_s = 0.05           # a server has a clock of its own: short times, really waited for

        @pytest.fixture
        async def store(self):
            store = MyStore("my://...")
            await store.open()
            yield store
            await store.close()

        @pytest.fixture
        async def other(self, store):   # another opening of the same store, as of another process; or `store` again
            ...

`store` may hold entries of others: each test uses keys and tags of its own. Times are multiples of `unit_s`; on virtual
time (`archstone.simulation`) it can stay 1.
"""

from archstone.cache.testing.invalidating import InvalidatingConformance
from archstone.cache.testing.keeping import KeepingConformance
from archstone.cache.testing.leasing import LeasingConformance

__all__ = ["StoreConformance"]


class StoreConformance(KeepingConformance, LeasingConformance, InvalidatingConformance):
    """The promise of `Store`, one test per sentence."""
