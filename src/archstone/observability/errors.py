"""What is wrong with how something is observed."""

from archstone.errors import BackendError, ConfigError

__all__ = ["LogLevelError", "MetricError", "SpanStoreError"]


class MetricError(ConfigError, code="observability.metric"):
    """A metric was declared that cannot be: its name, its labels, its buckets, or a clash with another."""

    def __init__(self, metric: str, faults: tuple[str, ...]) -> None:
        super().__init__(metric, faults)
        self.metric = metric
        self.faults = faults

    def __str__(self) -> str:
        return f"metric {self.metric!r}: " + "; ".join(self.faults)


class LogLevelError(ConfigError, code="observability.log-level"):
    """There is no log level of this name."""

    def __init__(self, level: str, known: tuple[str, ...]) -> None:
        super().__init__(level, known)
        self.level = level
        self.known = known

    def __str__(self) -> str:
        return f"log level {self.level!r} does not exist: use one of {', '.join(self.known)}"


class SpanStoreError(BackendError, code="observability.span-store"):
    """The file of the spans cannot be opened or read. Writing to it never raises; what fails is counted."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(path, what)
        self.path = path
        self.what = what

    def __str__(self) -> str:
        return (
            f"span store {self.path!r}: {self.what}; check the folder and its rights, or delete the file to begin anew"
        )
