"""What every broker must do, executable: subclass `BrokerConformance` and provide a `broker` fixture.

    class TestMyBroker(BrokerConformance):
        durable = True

        @pytest.fixture
        async def broker(self):
            broker = MyBroker("my://...")
            await broker.open()
            yield broker
            await broker.close()

The suite waits by `pass_time`; run it on virtual time (`archstone.simulation`), or set `lease_s` to a fraction of a
second for a broker whose server has a clock of its own. Each test uses topics of its own, so a server may be shared.
"""

from archstone.messaging.testing.desk import envelope
from archstone.messaging.testing.failing import FailingConformance
from archstone.messaging.testing.keeping import KeepingConformance
from archstone.messaging.testing.leasing import LeasingConformance
from archstone.messaging.testing.sending import SendingConformance

__all__ = ["BrokerConformance", "envelope"]


class BrokerConformance(SendingConformance, LeasingConformance, FailingConformance, KeepingConformance):
    """The promise of `Broker`, one test per sentence."""
