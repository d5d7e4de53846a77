"""How much a binary connection may ask for, and what happens when it asks for more."""

from dataclasses import dataclass

from archstone.errors import ConfigError

__all__ = ["Bounds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The limits of a server."""

    connections: int = 256
    """At once; one more is told FULL and closed. At least 1."""
    logon_s: float = 5.0
    """From the connection to WELCOME; then it is closed. Above 0."""
    credential_bytes: int = 4_096
    """Of a credential; a longer one is MALFORMED. At most 65,535."""
    heartbeat_ms: tuple[int, int] = (100, 60_000)
    """What clients may ask for; what is outside is moved to the nearer end."""
    unacknowledged: int = 4_096
    """Requests of one connection that are taken and not yet done. Beyond it nothing is read, so that TCP holds the
    client up. At least 1."""
    per_s: int = 50_000
    """Requests of one account in a second, all at once or spread; what is more is refused as TOO_FAST. At least 1."""
    unsent_bytes: int = 4 * 1024 * 1024
    """What one connection has not taken yet; beyond it it is closed as SLOW, and asks again. At least 64."""

    def __post_init__(self) -> None:
        """Refuse bounds that cannot be meant."""
        least, most = self.heartbeat_ms
        faults = [
            *([] if self.connections >= 1 else [f"connections={self.connections} must be at least 1"]),
            *([] if self.logon_s > 0 else [f"logon_s={self.logon_s} must be above 0"]),
            *([] if 0 < self.credential_bytes < 2**16 else ["credential_bytes must be in [1, 65,535]"]),
            *([] if 0 < least <= most else [f"heartbeat_ms={self.heartbeat_ms} must rise from above 0"]),
            *([] if self.unacknowledged >= 1 else [f"unacknowledged={self.unacknowledged} must be at least 1"]),
            *([] if self.per_s >= 1 else [f"per_s={self.per_s} must be at least 1"]),
            *([] if self.unsent_bytes >= 64 else [f"unsent_bytes={self.unsent_bytes} must be at least 64"]),
        ]
        if faults:
            raise ConfigError(f"Bounds: {'; '.join(faults)}")
