"""The console of a run: what pages may know of it and an operator may do to it. See `archstone.gateway.Console`.

It keeps nothing that matters: stories are put together from spans, journals, outboxes and queues when they are asked
for, figures from the metrics that are kept anyway. So it may die with the process, and what it tells survives.
"""

from archstone.runtime.console.console import RunConsole
from archstone.runtime.console.errors import TooManyWatchersError

__all__ = ["RunConsole", "TooManyWatchersError"]
