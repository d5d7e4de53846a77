"""What every store of shared circuits and limiters must do, executable: subclass `StoreConformance`.

    class TestMyStore(StoreConformance):
        unit_s = 0.05                       # a server's clock cannot be moved: small steps of real time

        @pytest.fixture
        async def stores(self):
            one, other = MyStore("my://..."), MyStore("my://...")     # two users of the same state
            await one.open(); await other.open()
            yield one, other
            await one.close(); await other.close()

The suite waits by `pass_time`; run it on virtual time (`archstone.simulation`) where the store's clock is `world`'s.
Each test uses names of its own, so a server may be shared.
"""

from archstone.resilience.testing.circuits import CircuitConformance
from archstone.resilience.testing.limits import LimitConformance

__all__ = ["StoreConformance"]


class StoreConformance(LimitConformance, CircuitConformance):
    """The promise of `Store`, one test per sentence."""
