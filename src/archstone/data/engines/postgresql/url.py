"""What a PostgreSQL URL may say: where the server is, and how connections to it are kept."""

import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from archstone.data.errors import UnknownEngineError

__all__ = ["ISOLATIONS", "PostgresOptions", "label_of", "parse_url"]

_SCHEMA: Final = re.compile(r"[a-z_][a-z0-9_-]{0,62}")
ISOLATIONS: Final = ("serializable", "repeatable-read", "read-committed")


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresOptions:
    """The parameters of a URL that are ours; all others go to the driver (`sslmode`, `application_name`, …)."""

    pool_size: int = 10
    """Connections kept for writing, and as many for reading; each opened when it is first needed. At least 1."""
    pool_overflow: int = 10
    """Connections beyond that while many wait; closed when given back. At least 0."""
    pool_timeout_s: float = 30.0
    """Seconds to wait for a connection. Above 0."""
    pool_recycle_s: float = 1800.0
    """Age at which a connection is replaced when it is next given back. Above 0."""
    pool_pre_ping_s: float = 5.0
    """Seconds of idleness after which a connection is tried before it is lent. 0: always."""
    isolation: str = "serializable"
    """Of transactions. Single statements are read-committed: each is whole by itself."""
    schema: str = ""
    """The schema in which everything is, made if missing: for services that share a database. Empty: the user's."""


def parse_url(url: str) -> tuple[str, PostgresOptions]:
    """Return the URL for the driver and our options.

    Raises:
        UnknownEngineError: A parameter of ours has a value that it cannot have; the text names it.
    """
    try:
        split = urlsplit(url)
    except ValueError:  # its text may hold the password
        reason = "cannot be read: a server is postgresql://user:password@host:5432/database"
        raise UnknownEngineError(label_of(url), reason) from None
    if not split.hostname and "host=" not in split.query and split.netloc:
        raise UnknownEngineError(label_of(url), "a server is postgresql://user:password@host:5432/database")
    if not split.path.strip("/"):
        raise UnknownEngineError(label_of(url), "names no database: postgresql://user:password@host:5432/database")
    kinds: dict[str, type[int | float | str]] = {
        name: type(getattr(PostgresOptions(), name)) for name in PostgresOptions.__slots__
    }
    ours: dict[str, Any] = {}
    theirs: list[tuple[str, str]] = []
    for name, text in parse_qsl(split.query, keep_blank_values=True):
        if name not in kinds:
            theirs.append((name, text))
            continue
        try:
            ours[name] = kinds[name](text)
        except ValueError:
            raise UnknownEngineError(label_of(url), f"{name}={text!r} is no {kinds[name].__name__}") from None
    options = PostgresOptions(**ours)
    _check(url, options)
    return urlunsplit(split._replace(query=urlencode(theirs))), options


def _check(url: str, options: PostgresOptions) -> None:
    faults = [
        text
        for wrong, text in (
            (options.pool_size < 1, "pool_size must be at least 1"),
            (options.pool_overflow < 0, "pool_overflow must be at least 0"),
            (not options.pool_timeout_s > 0, "pool_timeout_s must be above 0"),
            (not options.pool_recycle_s > 0, "pool_recycle_s must be above 0"),
            (not options.pool_pre_ping_s >= 0, "pool_pre_ping_s must be at least 0"),
            (options.schema and not _SCHEMA.fullmatch(options.schema), "schema must be like orders: a-z, 0-9, - and _"),
            (options.isolation not in ISOLATIONS, f"isolation must be one of {', '.join(ISOLATIONS)}"),
        )
        if wrong
    ]
    if faults:
        raise UnknownEngineError(label_of(url), "; ".join(faults))


def label_of(url: str) -> str:
    """Return the URL without password and parameters: how errors name the database."""
    try:
        split = urlsplit(url)
    except ValueError:
        return "postgresql:"  # what cannot be read may hold a password anywhere
    place = split.netloc.rpartition("@")[2]
    user = split.username or ""
    schema = dict(parse_qsl(split.query)).get("schema", "")
    return f"postgresql://{user + '@' if user else ''}{place}{split.path}{'?schema=' + schema if schema else ''}"
