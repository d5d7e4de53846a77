"""One-time codes from an authenticator app: enrolment with a picture to scan, checking, and no code twice.

    totp = Totp("Archstone Shop")
    secret = totp.new_secret()                         # keep it sealed (`Sealer`)
    svg = totp.qr_svg(secret, account=user.email)
    step = totp.match(secret, typed, after=last_step)  # None: refused
    # UPDATE ... SET last_step = :step WHERE ... AND last_step < :step, and refuse where no row changed

Six digits, thirty seconds, SHA-1: what every app understands, and what RFC 6238 has by default (the weakness of SHA-1
is in collisions, which HMAC does not need). A code is accepted in its step and one before and after, for clocks that
differ.

Promise: a code that was used is not accepted again, nor is one from before it: whoever looks over a shoulder is too
late. For that you store the step that `match` returns in one statement that compares (as above), so that of two at once
one wins. Limit the tries (`Attempts`): six digits are guessed in half a million.

Source: RFC 6238 and RFC 4226; NIST SP 800-63B-4, 3.1.4 (at most two minutes, used once).
"""

import base64
import hashlib
import hmac
import io
import re
from collections.abc import Callable
from typing import Any, Final, Literal

from archstone import world
from archstone.errors import ConfigError

try:
    import segno
    from pyotp.totp import TOTP
except ImportError as error:  # pragma: no cover - the core is installed without it
    message = "archstone.security.Totp needs pyotp and segno: pip install 'archstone[security]'"
    raise ImportError(message, name="pyotp") from error

__all__ = ["Totp"]

_SECRET_BYTES: Final = 20
"""As many as SHA-1 gives: RFC 4226, section 4, R6."""
_DIGESTS: Final[dict[str, Callable[..., Any]]] = {
    "SHA1": hashlib.sha1, "SHA256": hashlib.sha256, "SHA512": hashlib.sha512,
}  # fmt: skip
_BLANKS: Final = re.compile(r"[\s-]+")
_MICROS: Final = 1_000_000


class Totp:
    """Time-based one-time codes of one issuer."""

    def __init__(
        self,
        issuer: str,
        *,
        digits: int = 6,
        step_s: int = 30,
        drift_steps: int = 1,
        algorithm: Literal["SHA1", "SHA256", "SHA512"] = "SHA1",
    ) -> None:
        """Say what is used. Another choice than the default is not understood by every app.

        Args:
            issuer: How the app names it: the name of the product.
            digits: Of a code, 6 to 8.
            step_s: Seconds for which a code is shown, 15 to 120.
            drift_steps: Steps before and after the present one that are accepted, 0 to 2. 0: the present one only.
            algorithm: Of the HMAC.

        Raises:
            ConfigError: One of these is out of range.
        """
        faults = [
            *([] if issuer and ":" not in issuer else [f"issuer={issuer!r} must be a name without a colon"]),
            *([] if 6 <= digits <= 8 else [f"digits={digits} must be 6 to 8"]),
            *([] if 15 <= step_s <= 120 else [f"step_s={step_s} must be 15 to 120"]),
            *([] if 0 <= drift_steps <= 2 else [f"drift_steps={drift_steps} must be 0 to 2"]),
            *([] if algorithm in _DIGESTS else [f"algorithm={algorithm!r} must be one of {', '.join(_DIGESTS)}"]),
        ]
        if faults:
            raise ConfigError("Totp: " + "; ".join(faults))
        self.issuer = issuer
        self.digits = digits
        self.step_s = step_s
        self.drift_steps = drift_steps
        self._digest = _DIGESTS[algorithm]
        self._form = re.compile(f"[0-9]{{{digits}}}")

    def new_secret(self) -> bytes:
        """Return a new secret: 160 bits of chance."""
        return world.secret_bytes(_SECRET_BYTES)

    def text_of(self, secret: bytes) -> str:
        """Return a secret as people type it into an app that cannot scan: base 32 in groups of four."""
        plain = base64.b32encode(secret).decode("ascii").rstrip("=")
        return " ".join(plain[place : place + 4] for place in range(0, len(plain), 4))

    def uri(self, secret: bytes, *, account: str) -> str:
        """Return the `otpauth:` address that an app scans. It holds the secret: for the picture only."""
        return self._made(secret).provisioning_uri(name=account, issuer_name=self.issuer)

    def qr_svg(self, secret: bytes, *, account: str) -> str:
        """Return the address as a picture: an `svg` element of dark squares on white, without script or style."""
        drawn = io.BytesIO()
        code = segno.make(self.uri(secret, account=account), error="m", micro=False)
        code.save(drawn, kind="svg", xmldecl=False, svgns=True, omitsize=True, border=4, light="#fff", dark="#000")
        return drawn.getvalue().decode("utf-8").strip()

    def code(self, secret: bytes, *, step: int | None = None) -> str:
        """Return the code of a step, what an app shows: for tests and for tools. None: of the present one."""
        return self._made(secret).generate_otp(self.step() if step is None else step)

    def step(self) -> int:
        """Return the number of the present step."""
        return world.now_us() // (self.step_s * _MICROS)

    def match(self, secret: bytes, typed: str, *, after: int = -1) -> int | None:
        """Return the step that a code belongs to. None: it is no code of the present, or was used.

        Args:
            secret: Of the account.
            typed: What was typed; blanks and dashes do not count.
            after: The last step that was used. -1: none.
        """
        plain = _BLANKS.sub("", typed)
        if not plain.isascii() or not self._form.fullmatch(plain):
            return None
        made, now = self._made(secret), self.step()
        found: int | None = None
        # All of them, so that the time tells nothing.
        for step in range(max(0, now - self.drift_steps), now + self.drift_steps + 1):
            if hmac.compare_digest(plain, made.generate_otp(step)) and step > after:
                found = step
        return found

    def _made(self, secret: bytes) -> TOTP:
        text = base64.b32encode(secret).decode("ascii")
        return TOTP(text.rstrip("="), digits=self.digits, digest=self._digest, interval=self.step_s)
