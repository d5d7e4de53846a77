"""One configuration model: defaults, a TOML file, the environment and flags, each value with its source.

Later sources win: default < `archstone.toml` < `ARCHSTONE_<NAME>` < flag. A system's own options live beside
the framework's: the TOML table `[options]`, `ARCHSTONE_OPTION_<NAME>`, or `--set name=value`. A name that nobody has
declared is refused, wherever it comes from.
"""

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Final, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import ErrorDetails

from archstone import world
from archstone.errors import ConfigError
from archstone.runtime.plaintext import faults_of_plaintext
from archstone.services import Option, System, option_fault

__all__ = ["Loaded", "Setting", "Settings", "check_crash_point", "load_settings"]

PREFIX: Final = "ARCHSTONE_"
OPTION_PREFIX: Final = "ARCHSTONE_OPTION_"
TEST_PREFIX: Final = "ARCHSTONE_TEST_"
NOT_SETTINGS: Final = frozenset(
    {world.CRASH_VARIABLE, "ARCHSTONE_ROOT_KEYS", "ARCHSTONE_SEED", "ARCHSTONE_TRACEBACK", "ARCHSTONE_REQUIRE_BACKENDS"}
)
"""Variables of the same prefix that are not configuration: a crash point, root keys, the seed of a test, a switch for
bugs, and whether tests may do without a server. Nor is `ARCHSTONE_TEST_…`: where tests find one."""
SECRET_WORDS: Final = ("password", "secret", "token", "key")


class Settings(BaseModel):
    """Everything that can be set about a running system."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(default="127.0.0.1", description="Address that the front door listens on.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port of the front door; 0 takes a free one.")
    tls_cert: str = Field(
        default="",
        description="File with the certificate of the front door and those above it, PEM: it speaks https then. Read "
        "again at SIGHUP.",
    )
    tls_key: str = Field(default="", description="File with the key of the certificate, PEM.")
    redirect_port: int | None = Field(
        default=None, ge=0, le=65535, description="Port on which http is sent to https; none: nothing listens there."
    )
    database_url: str = Field(
        default="",
        description="Where services keep their data: empty for files in the data folder, or a PostgreSQL database, in "
        "which each has a schema of its own: postgresql://user:password@host:5432/name.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Lowest level that is logged."
    )
    log_format: Literal["auto", "json", "text"] = Field(
        default="auto", description="`auto` is text on a terminal and JSON lines elsewhere."
    )
    drain_s: float = Field(
        default=10.0, ge=0, le=600, description="Seconds that work in flight has to finish at shutdown."
    )
    deadline_s: float | None = Field(
        default=None, gt=0, le=600, description="Longest time for a request, seconds; none: the gateway's own."
    )
    body_limit_bytes: int | None = Field(
        default=None, ge=1_000, description="Longest request body; none: the gateway's own."
    )
    rate_limit_per_s: float | None = Field(
        default=None,
        gt=0,
        description="Requests a second of one principal, with twice as many at once; none: the gateway's own.",
    )
    trusted_proxies: str = Field(
        default="",
        description="Proxies in front, as addresses or networks with commas: their X-Forwarded-* headers count.",
    )
    docs: Literal["public", "off"] | None = Field(
        default=None,
        description="Whether /docs and /openapi.json tell everybody of the public operations; none: the gateway's own.",
    )
    metrics_from: str | None = Field(
        default=None,
        description="Who sees /metrics: addresses or networks with commas, or *, everybody; none: the gateway's own.",
    )
    plaintext: Literal["loopback", "anywhere"] = Field(
        default="loopback",
        description="How far anything goes without TLS: `loopback` refuses http and connections beyond this machine.",
    )
    spans_per_s: float = Field(
        default=2_000.0, ge=0, description="Spans kept a second before whole traces are sampled out."
    )
    trace_keep_s: float = Field(default=7 * 86_400.0, gt=0, description="Seconds that spans are kept.")
    saga_keep_s: float = Field(
        default=30 * 86_400.0, gt=0, description="Seconds that a finished saga's journal is kept."
    )
    key_keep_s: float = Field(
        default=86_400.0, gt=0, description="Seconds that an idempotency key and its answer are kept."
    )
    inbox_keep_s: float = Field(
        default=60 * 86_400.0,
        gt=0,
        description="Seconds that the mark of a handled event is kept; more than dead letters are, which come again.",
    )
    dead_keep_s: float = Field(default=30 * 86_400.0, gt=0, description="Seconds that dead letters are kept.")
    sweep_every_s: float = Field(
        default=60.0, gt=0, description="Seconds between two sweeps of the framework's tables."
    )
    options: Mapping[str, str] = Field(default_factory=dict, description="The system's own options, as text.")

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ValueError("tls_cert and tls_key belong together: give both or neither")
        if self.redirect_port is not None and not self.tls_cert:
            raise ValueError("redirect_port sends to https, and there is none: give tls_cert and tls_key")
        return self

    @field_validator("trusted_proxies", "metrics_from")
    @classmethod
    def _are_addresses(cls, value: str | None, info: ValidationInfo) -> str | None:
        found = [each.strip() for each in (value or "").split(",") if each.strip()]
        if value is None or (info.field_name == "metrics_from" and found == ["*"]):
            return value
        for each in found:
            ip_network(each, strict=False)
        return ",".join(found)


@dataclass(frozen=True, slots=True)
class Setting:
    """One value and where it came from."""

    name: str
    value: object
    source: str
    """`default`, the file's name, the variable's name, or `flag`."""
    about: str

    @property
    def shown(self) -> str:
        """The value as text, with secrets and passwords in URLs left out."""
        return _shown(self.name, self.value)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings with the source of each value."""

    settings: Settings
    sources: Mapping[str, str]
    declared: Sequence[Option] = ()
    """The options that the system declares."""

    def rows(self) -> tuple[Setting, ...]:
        """Return every setting with value and source, set or not; the system's options last."""
        rows = [
            Setting(name, getattr(self.settings, name), self.sources.get(name, "default"), field.description or "")
            for name, field in Settings.model_fields.items()
            if name != "options"
        ]
        chosen = dict(self.settings.options)
        single = [option for option in self.declared if not option.is_family]
        rows += [self._option(option.name, chosen.pop(option.name, option.default)) for option in single]
        return (*rows, *(self._option(name, value) for name, value in sorted(chosen.items())))

    def _option(self, name: str, value: str) -> Setting:
        option = next((each for each in self.declared if each.takes(name)), None)
        about = "option of the system" if option is None else option.about
        if option is not None and option.choices:
            about = f"{about} One of {', '.join(option.choices)}."
        return Setting(f"options.{name}", value, self.sources.get(f"options.{name}", "default"), about)


def load_settings(
    flags: Mapping[str, object] | None = None,
    *,
    system: System | None = None,
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Loaded:
    """Merge all sources and check them together.

    Args:
        flags: Values from the command line; None values count as not given. `options` is a mapping.
        system: Whose options may be set. None: options are taken as they come.
        file: TOML file; by default `archstone.toml` in the working directory, if it is there.
        environ: The environment; by default this process's.

    Raises:
        ConfigError: a value is wrong or a name unknown; all faults at once, each with its source.
    """
    found = _Found()
    path = file or Path("archstone.toml")
    if file is not None or path.is_file():
        found.take(_read(path), str(path))
    found.take_environment(os.environ if environ is None else environ)
    found.take({name: value for name, value in (flags or {}).items() if value is not None}, "flag")
    return Loaded(found.checked(system), found.sources, () if system is None else system.options)


def check_crash_point(environ: Mapping[str, str] | None = None) -> None:
    """Refuse a crash point that nobody has declared: a drill that never strikes looks like one that was survived.

    Call it when all modules of the system are loaded.

    Raises:
        ConfigError: `ARCHSTONE_CRASH` is not `name` or `name:n` with a known name and n from 1.
    """
    wanted = (os.environ if environ is None else environ).get(world.CRASH_VARIABLE)
    if not wanted:
        return
    name, colon, passes = wanted.partition(":")
    known = sorted(world.crash_points())
    if name not in known:
        what = f"there is no crash point {name!r}{_meant(name, known)}; there are {', '.join(known)}"
        raise ConfigError(f"{world.CRASH_VARIABLE}={wanted}: {what}")
    if colon and not (passes.isascii() and passes.isdigit() and int(passes) > 0):
        raise ConfigError(
            f"{world.CRASH_VARIABLE}={wanted}: write {name}:3 to crash at its third pass, {name} at its first"
        )


def _meant(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f", did you mean {near[0]}" if near else ""


class _Found:
    """What the sources say, a later one over an earlier one."""

    def __init__(self) -> None:
        self.values: dict[str, object] = {}
        self.options: dict[str, str] = {}
        self.sources: dict[str, str] = {}
        self.faults: list[str] = []

    def take(self, found: Mapping[str, object], source: str) -> None:
        for name, value in found.items():
            if name != "options":
                self.set(name, value, source)
            elif isinstance(value, Mapping):
                for option, text in cast("Mapping[str, object]", value).items():
                    self.set_option(option, str(text), source)
            else:
                self.faults.append(f"options={value!r} (from {source}): write a table, [options]")

    def take_environment(self, environ: Mapping[str, str]) -> None:
        for variable, value in sorted(environ.items()):
            if variable.startswith(OPTION_PREFIX):
                self.set_option(variable.removeprefix(OPTION_PREFIX).lower(), value, variable)
            elif variable.startswith(PREFIX) and not variable.startswith(TEST_PREFIX) and variable not in NOT_SETTINGS:
                self.set(variable.removeprefix(PREFIX).lower(), value, variable)

    def set(self, name: str, value: object, source: str) -> None:
        self.values[name], self.sources[name] = value, source

    def set_option(self, name: str, value: str, source: str) -> None:
        self.options[name], self.sources[f"options.{name}"] = value, source

    def checked(self, system: System | None) -> Settings:
        if "options" in self.values:  # a variable ARCHSTONE_OPTIONS
            self.faults.append(f"options (from {self.sources['options']}): write {OPTION_PREFIX}NAME for each")
        if system is not None:
            for name, value in self.options.items():
                if (fault := option_fault(system.options, name, value)) is not None:
                    source = self.sources[f"options.{name}"]
                    self.faults.append(f"option {name}={_shown(name, value)!r} (from {source}): {fault}")
        try:
            settings = Settings.model_validate({**self.values, "options": self.options})
        except ValidationError as error:
            raise ConfigError(_told([*self.faults, *map(self._fault, error.errors())], system)) from error
        for name, why in faults_of_plaintext(settings, () if system is None else system.options):
            self.faults.append(f"{name} (from {self.sources.get(name, 'default')}): {why}")
        if self.faults:
            raise ConfigError(_told(self.faults, system))
        return settings

    def _fault(self, fault: ErrorDetails) -> str:
        name = ".".join(str(part) for part in fault["loc"])
        unknown = fault["type"] == "extra_forbidden"
        what = f"there is no such setting{_meant(name, Settings.model_fields)}" if unknown else fault["msg"]
        return f"{name}={_shown(name, fault['input'])!r} (from {self.sources.get(name, 'default')}): {what}"


def _told(faults: Sequence[str], system: System | None) -> str:
    called = "SYSTEM" if system is None else system.called
    return f"configuration: {'; '.join(faults)}. `archstone config {called}` lists the names"


def _shown(name: str, value: object) -> str:
    """Return the value as text; what the name calls a secret, and the password in a URL, are left out."""
    if name not in Settings.model_fields and any(word in name for word in SECRET_WORDS):
        return "***"
    text = str(value)
    scheme, separator, rest = text.partition("://")
    return f"{scheme}://***@{rest.rpartition('@')[2]}" if separator and "@" in rest else text


def _read(path: Path) -> Mapping[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"configuration file {path}: {error.strerror}; name one that can be read") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration file {path} is not TOML: {error}; mend it or name another") from error
