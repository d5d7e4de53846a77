"""State in this process: what the others must do, without a server. For tests, and for one process alone."""

from archstone import world
from archstone.resilience.breaker import Breaker
from archstone.resilience.circuitstate import CircuitState, StateName
from archstone.resilience.limiter import Counted
from archstone.resilience.limits import take_bucket, take_window
from archstone.resilience.ratelimit import RateLimit
from archstone.resilience.store import Begun, Taken

__all__ = ["MemoryStore"]

_KEYS_CHECKED = 1000


class MemoryStore:
    """Two dicts. Each verb runs without an await, so nobody comes in between."""

    def __init__(self, url: str = "memory:", timeout_s: float = 1.0) -> None:
        self.url = url
        self._circuits: dict[str, CircuitState] = {}
        self._paid_at_s: dict[tuple[str, str], float] = {}
        self._counted: dict[tuple[str, str], Counted] = {}

    def __repr__(self) -> str:
        return f"MemoryStore({self.url!r})"

    async def open(self) -> None:
        """Do nothing: it is there."""

    async def close(self) -> None:
        """Do nothing: state stays."""

    async def take(self, limiter: str, policy: RateLimit, key: str, cost: float, max_wait_s: float) -> Taken:
        """Take `cost` for `key`. See `Store`."""
        now_s, at = world.monotonic(), (limiter, key)
        if policy.kind == "window":
            counted, taken = take_window(policy, self._counted.get(at), cost, now_s)
            self._counted[at] = counted
            return taken
        paid_at_s, taken = take_bucket(policy, self._paid_at_s.get(at, 0.0), cost, now_s, max_wait_s)
        self._paid_at_s[at] = paid_at_s
        if len(self._paid_at_s) % _KEYS_CHECKED == 0:
            self._paid_at_s = {key: paid_at_s for key, paid_at_s in self._paid_at_s.items() if paid_at_s > now_s}
        return taken

    async def begin(self, circuit: str, policy: Breaker) -> Begun:
        """Let one call through, or say why not. See `Store`."""
        state = self._state(circuit)
        before = state.epoch
        refused = state.admit(policy, world.monotonic())
        return Begun(state.epoch, refused, state.name if state.epoch != before else None)

    async def end(self, circuit: str, policy: Breaker, epoch: int, outcome: int) -> StateName | None:
        """Count a call. See `Store`."""
        state = self._state(circuit)
        before = state.epoch
        state.end(policy, epoch, outcome, world.monotonic())
        return state.name if state.epoch != before else None

    async def force(self, circuit: str, policy: Breaker, for_s: float | None) -> None:
        """Open or close the circuit. See `Store`."""
        if for_s is None:
            self._state(circuit).close()
        else:
            self._state(circuit).open(world.monotonic() + for_s)

    async def look(self, circuit: str, policy: Breaker) -> tuple[CircuitState, float]:
        """Return where the circuit stands, and the time. See `Store`."""
        return self._state(circuit), world.monotonic()

    def _state(self, circuit: str) -> CircuitState:
        return self._circuits.setdefault(circuit, CircuitState())
