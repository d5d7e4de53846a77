"""What every database must do, executable: subclass `DatabaseConformance` and provide two fixtures.

    class TestMyEngine(DatabaseConformance):
        shared = True

        @pytest.fixture
        async def db(self, url):
            async with Database(url, hold_limit_s=self.hold_limit_s) as db:
                yield db

        @pytest.fixture
        async def other(self, url, db):         # a second opening of the same database; db again if not `shared`
            async with Database(url) as other:
                yield other

`db` is empty when a test begins. The suite runs on virtual or real time; each test takes well under a second.
"""

from archstone.data.testing.isolating import IsolationConformance
from archstone.data.testing.sharing import SharingConformance
from archstone.data.testing.stating import StatementConformance
from archstone.data.testing.transacting import TransactionConformance

__all__ = ["DatabaseConformance"]


class DatabaseConformance(StatementConformance, TransactionConformance, IsolationConformance, SharingConformance):
    """The promise of `Database`, one test per sentence."""
