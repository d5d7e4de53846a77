"""The front door over TLS: its certificate from files, read again at SIGHUP, and http sent to https beside it.

Promise: TLS 1.2 or later; a new certificate is taken with the next connection, and those that are open go on. A pair of
files that does not fit is refused at the start, and at SIGHUP the old one stays.
"""

import ssl
from typing import TYPE_CHECKING

import uvicorn

from archstone.errors import ConfigError
from archstone.observability import get_logger

if TYPE_CHECKING:
    from archstone.runtime.config import Settings

__all__ = ["Tls", "TlsConfig"]

_log = get_logger("archstone.runtime")


class Tls:
    """The certificate of the front door."""

    def __init__(self, cert: str, key: str) -> None:
        """Read the files.

        Raises:
            ConfigError: They cannot be read, or do not belong together.
        """
        self._files = (cert, key)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        self._load(self.context)

    @classmethod
    def of(cls, settings: "Settings") -> "Tls | None":
        """Return what the settings say; None: http."""
        return cls(settings.tls_cert, settings.tls_key) if settings.tls_cert else None

    def reload(self) -> None:
        """Take what the files hold now. If that is nothing, go on with what there is, and say so in the log."""
        try:
            # Tried aside: half a pair would leave the door with neither.
            self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
            self._load(self.context)
        except ConfigError as error:
            _log.error("the certificate stays as it is", exc_info=error)
        else:
            _log.info("certificate read again", cert=self._files[0])

    def _load(self, context: ssl.SSLContext) -> None:
        cert, key = self._files
        try:
            context.load_cert_chain(cert, key)
        except (OSError, ssl.SSLError) as error:
            told = error.strerror or str(error)
            raise ConfigError(f"tls_cert={cert}, tls_key={key}: {told}: name a certificate and its key, PEM") from error


class TlsConfig(uvicorn.Config):
    """uvicorn's configuration with a context of our own, which older versions of it have no word for."""

    context: ssl.SSLContext | None = None

    def load(self) -> None:
        """Load as usual, and take the context."""
        super().load()
        if self.context is not None:
            self.ssl = self.context
