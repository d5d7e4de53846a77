"""PostgreSQL: many processes, serializable transactions, small writes of one moment in one round trip. Needs asyncpg.

url.py      what a URL may say
link.py     one connection: statements prepared once, results as the port wants them
pool.py     connections that are kept, lent, tried and renewed
group.py    single statements that run at the same moment, sent together
member.py   a transaction
view.py     one instant, read several times
signals.py  wake-ups from process to process
engine.py   joins them
"""

from archstone.data.engines.postgresql.engine import PostgresEngine, engine_of

__all__ = ["PostgresEngine", "engine_of"]
