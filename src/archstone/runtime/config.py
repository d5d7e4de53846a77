"""One configuration model: defaults, a TOML file, the environment and flags, each value with its source.

Later sources win: default < `archstone.toml` < `ARCHSTONE_<NAME>` < flag. A system's own options live beside
the framework's: the TOML table `[options]`, `ARCHSTONE_OPTION_<NAME>`, or `--set name=value`.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from archstone.errors import ConfigError

__all__ = ["Loaded", "Setting", "Settings", "load_settings"]

PREFIX: Final = "ARCHSTONE_"
OPTION_PREFIX: Final = "ARCHSTONE_OPTION_"
NOT_SETTINGS: Final = frozenset({"ARCHSTONE_CRASH"})
"""Variables of the same prefix that are not configuration."""
SECRET_WORDS: Final = ("password", "secret", "token", "key")


class Settings(BaseModel):
    """Everything that can be set about a running system."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address that the front door listens on.")
    port: int = Field(8080, ge=0, le=65535, description="Port of the front door; 0 takes a free one.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Lowest level that is logged.")
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="`auto` is text on a terminal and JSON lines elsewhere."
    )
    drain_s: float = Field(10.0, ge=0, le=600, description="Seconds that work in flight has to finish at shutdown.")
    deadline_s: float = Field(10.0, gt=0, le=600, description="Seconds a request has when it does not say.")
    body_limit_bytes: int = Field(1_000_000, ge=1_000, description="Largest request body that is read.")
    rate_limit_per_s: float | None = Field(
        None,
        gt=0,
        description="Requests a second of one principal, with twice as many at once; none: the gateway's own.",
    )
    spans_per_s: float = Field(2_000.0, ge=0, description="Spans kept a second before whole traces are sampled out.")
    trace_keep_s: float = Field(7 * 86_400.0, gt=0, description="Seconds that spans are kept.")
    saga_keep_s: float = Field(30 * 86_400.0, gt=0, description="Seconds that a finished saga's journal is kept.")
    key_keep_s: float = Field(86_400.0, gt=0, description="Seconds that an idempotency key and its answer are kept.")
    inbox_keep_s: float = Field(7 * 86_400.0, gt=0, description="Seconds that the mark of a handled event is kept.")
    dead_keep_s: float = Field(30 * 86_400.0, gt=0, description="Seconds that dead letters are kept.")
    sweep_every_s: float = Field(60.0, gt=0, description="Seconds between two sweeps of the framework's tables.")
    options: Mapping[str, str] = Field(default_factory=dict, description="The system's own options, as text.")


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
        text = str(self.value)
        if any(word in self.name for word in SECRET_WORDS) and self.name.startswith("options."):
            return "***"
        scheme, separator, rest = text.partition("://")
        if separator and "@" in rest:
            return f"{scheme}://***@{rest.rpartition('@')[2]}"
        return text


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings with the source of each value."""

    settings: Settings
    sources: Mapping[str, str]

    def rows(self) -> tuple[Setting, ...]:
        """Return every setting with value and source, the options last."""
        rows = [
            Setting(name, getattr(self.settings, name), self.sources.get(name, "default"), field.description or "")
            for name, field in Settings.model_fields.items()
            if name != "options"
        ]
        rows += [
            Setting(f"options.{name}", value, self.sources.get(f"options.{name}", "default"), "option of the system")
            for name, value in sorted(self.settings.options.items())
        ]
        return tuple(rows)


def load_settings(
    flags: Mapping[str, object] | None = None,
    *,
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    defaults: Mapping[str, str] | None = None,
) -> Loaded:
    """Merge all sources and check them together.

    Args:
        flags: Values from the command line; None values count as not given. `options` is a mapping.
        file: TOML file; by default `archstone.toml` in the working directory, if it is there.
        environ: The environment; by default this process's.
        defaults: The system's options and their defaults.

    Raises:
        ConfigError: a value is wrong or a name unknown; all faults at once, each with its source.
    """
    values: dict[str, object] = {}
    options: dict[str, str] = dict(defaults or {})
    sources: dict[str, str] = {}

    def take(found: Mapping[str, object], source: str, spell: str = "{}") -> None:
        for name, value in found.items():
            if name == "options" and isinstance(value, Mapping):
                for option, text in value.items():  # pyright: ignore[reportUnknownVariableType]
                    options[str(option)] = str(text)  # pyright: ignore[reportUnknownArgumentType]
                    sources[f"options.{option}"] = source
            elif value is not None:
                values[name] = value
                sources[name] = spell.format(name.upper()) if "{}" in spell else source

    path = file or Path("archstone.toml")
    if file is not None or path.is_file():
        take(_read(path), str(path))
    for variable, value in sorted((os.environ if environ is None else environ).items()):
        if variable.startswith(OPTION_PREFIX):
            options[variable.removeprefix(OPTION_PREFIX).lower()] = value
            sources[f"options.{variable.removeprefix(OPTION_PREFIX).lower()}"] = variable
        elif variable.startswith(PREFIX) and variable not in NOT_SETTINGS and not variable.startswith(f"{PREFIX}TEST"):
            name = variable.removeprefix(PREFIX).lower()
            values[name], sources[name] = value, variable
    take(flags or {}, "flag", "flag")
    return Loaded(_checked({**values, "options": options}, sources), sources)


def _read(path: Path) -> Mapping[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"configuration file {path}: {error.strerror}; name one that can be read") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration file {path} is not TOML: {error}") from error


def _checked(values: Mapping[str, object], sources: Mapping[str, str]) -> Settings:
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        faults = "; ".join(
            f"{name}={fault['input']!r} (from {sources.get(name, 'default')}): {fault['msg']}"
            for fault in error.errors()
            for name in [".".join(str(part) for part in fault["loc"])]
        )
        raise ConfigError(f"configuration: {faults}; `archstone config SYSTEM` lists the names") from error
