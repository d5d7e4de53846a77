"""Passkeys: signing in with a key that never leaves the device, bound to one site, so that it cannot be phished.

    passkeys = Passkeys(rp_id="shop.example.com", rp_name="Shop", origins=["https://shop.example.com"])
    asked = passkeys.begin_registration(user_id, user_name)       # keep asked.challenge, send asked.options to the page
    made = passkeys.finish_registration(answer, challenge)        # store made.id, made.public_key, made.sign_count
    asked = passkeys.begin_authentication()                       # discoverable: nobody types a name
    who = passkeys.id_of(answer)                                  # find the stored key by it
    used = passkeys.finish_authentication(answer, challenge, stored)   # store used.sign_count

Promise: only an answer to this very challenge, made on one of these origins for this site, by a user who was present
and verified (PIN, finger, face), with the key that is stored, is accepted; a counter that does not grow is refused,
since then the key has a copy. A challenge is good for one answer and for `challenge_s`: whoever stores it deletes it
when it is used.

No attestation is asked for: it would tell the maker of every customer's device, and no rule here depends on it. Needs
`archstone[passkeys]`. Source: W3C Web Authentication, level 3.
"""

import base64
import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from archstone import world
from archstone.errors import ConfigError, DeniedError

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["Asked", "NewPasskey", "Passkey", "PasskeyError", "Passkeys", "UsedPasskey"]

_CHALLENGE_BYTES: Final = 32
_ANSWER_CHARACTERS: Final = 65_536
_LOCAL: Final = re.compile(r"http://localhost(:[0-9]{1,5})?")
_ID_CHARACTERS: Final = 1_400
"""Of a credential's id in base64: 1,023 bytes (W3C, section 4)."""


class PasskeyError(DeniedError, code="security.passkey", status=401):
    """An answer of a passkey was refused."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        """For logs; it quotes nothing of the answer."""

    def __str__(self) -> str:
        return f"passkey refused: {self.reason}; begin again"


class Asked(NamedTuple):
    """A ceremony that has begun."""

    options: str
    """JSON for `navigator.credentials`."""
    challenge: bytes
    """To be kept where the page cannot change it, used once."""


class Passkey(NamedTuple):
    """A passkey as it is stored."""

    id: bytes
    public_key: bytes
    sign_count: int


class NewPasskey(NamedTuple):
    """A passkey that has just been registered."""

    id: bytes
    public_key: bytes
    """In COSE form."""
    sign_count: int
    backed_up: bool
    """Whether it is kept by more than this device: synchronised."""


class UsedPasskey(NamedTuple):
    """What an accepted answer says."""

    sign_count: int
    """To be stored; 0 for keys that do not count."""
    user: bytes
    """The id of the user that the key was made for; empty if the authenticator did not say."""


class Passkeys:
    """Registers and checks passkeys for one site."""

    def __init__(self, *, rp_id: str, rp_name: str, origins: Sequence[str], challenge_s: int = 300) -> None:
        """Say for which site.

        Args:
            rp_id: The host name that the keys belong to, or a parent of it. Keys made for another do not work.
            rp_name: How the device names it.
            origins: `https://host[:port]` from which answers are accepted. For `rp_id="localhost"`, which is one's own
                machine, `http` and every port are accepted besides.
            challenge_s: Seconds that a ceremony may take, 30 to 600.

        Raises:
            ConfigError: An origin is not one of this site, or not https, or the time is out of range.
        """
        _library()  # what is missing is told here, and not to the first visitor
        faults = [fault for origin in origins if (fault := _origin_fault(origin, rp_id))]
        if not origins or not 30 <= challenge_s <= 600:
            faults.append(f"origins={list(origins)} must not be empty, challenge_s={challenge_s} must be 30 to 600")
        if faults:
            raise ConfigError("Passkeys: " + "; ".join(faults))
        self.rp_id = rp_id
        self.challenge_s = challenge_s
        self._rp_name = rp_name
        self._origins = list(origins)

    def begin_registration(
        self, user_id: bytes, user_name: str, *, display_name: str = "", known: Sequence[bytes] = ()
    ) -> Asked:
        """Return what a page asks a device for a new key.

        Args:
            user_id: 1 to 64 bytes that name the user and tell nothing about them.
            user_name: What the device shows: the e-mail address.
            display_name: The name. Empty: the user name.
            known: Ids of the keys that the user has: their devices do not make another.
        """
        webauthn, structs = _library(), _structs()
        challenge = world.secret_bytes(_CHALLENGE_BYTES)
        options = webauthn.generate_registration_options(
            rp_id=self.rp_id,
            rp_name=self._rp_name,
            user_id=user_id,
            user_name=user_name,
            user_display_name=display_name or user_name,
            challenge=challenge,
            timeout=self.challenge_s * 1_000,
            authenticator_selection=structs.AuthenticatorSelectionCriteria(
                resident_key=structs.ResidentKeyRequirement.REQUIRED,
                user_verification=structs.UserVerificationRequirement.REQUIRED,
            ),
            exclude_credentials=[structs.PublicKeyCredentialDescriptor(id=each) for each in known],
        )
        return Asked(webauthn.options_to_json(options), challenge)

    def finish_registration(self, answer: str, challenge: bytes) -> NewPasskey:
        """Return the key that a device has made.

        Raises:
            PasskeyError: The answer is refused.
        """
        parsed = _parsed(answer)
        try:
            made = _library().verify_registration_response(
                credential=parsed,
                expected_challenge=challenge,
                expected_rp_id=self.rp_id,
                expected_origin=self._accepted(parsed),
                require_user_verification=True,
            )
        except Exception as error:
            raise _refusal(error) from error
        return NewPasskey(made.credential_id, made.credential_public_key, made.sign_count, made.credential_backed_up)

    def begin_authentication(self, known: Sequence[bytes] = ()) -> Asked:
        """Return what a page asks a device to sign.

        Args:
            known: Ids of the keys that may answer. None given: any that the device has for this site, so that nobody
                has to say first who they are.
        """
        webauthn, structs = _library(), _structs()
        challenge = world.secret_bytes(_CHALLENGE_BYTES)
        options = webauthn.generate_authentication_options(
            rp_id=self.rp_id,
            challenge=challenge,
            timeout=self.challenge_s * 1_000,
            allow_credentials=[structs.PublicKeyCredentialDescriptor(id=each) for each in known],
            user_verification=structs.UserVerificationRequirement.REQUIRED,
        )
        return Asked(webauthn.options_to_json(options), challenge)

    def id_of(self, answer: str) -> bytes:
        """Return which key an answer says that it comes from. Nothing is checked yet.

        Raises:
            PasskeyError: It is no answer.
        """
        text = _parsed(answer).get("id")
        if not isinstance(text, str) or not 0 < len(text) <= _ID_CHARACTERS:
            raise PasskeyError("malformed")
        try:
            return _unpadded(text)
        except ValueError as error:
            raise PasskeyError("malformed") from error

    def finish_authentication(self, answer: str, challenge: bytes, stored: Passkey) -> UsedPasskey:
        """Check an answer against the stored key that it names.

        Raises:
            PasskeyError: The answer is refused.
        """
        parsed = _parsed(answer)
        try:
            used = _library().verify_authentication_response(
                credential=parsed,
                expected_challenge=challenge,
                expected_rp_id=self.rp_id,
                expected_origin=self._accepted(parsed),
                credential_public_key=stored.public_key,
                credential_current_sign_count=stored.sign_count,
                require_user_verification=True,
            )
        except Exception as error:
            raise _refusal(error) from error
        if used.credential_id != stored.id:
            raise PasskeyError("it comes from another key")
        return UsedPasskey(used.new_sign_count, _user_of(parsed))

    def _accepted(self, parsed: dict[str, Any]) -> list[str]:
        """Return the origins that are accepted; where the site is this machine, also the one that the answer names."""
        if self.rp_id != "localhost":
            return self._origins
        response = parsed.get("response")
        text: object = cast("dict[str, object]", response).get("clientDataJSON") if isinstance(response, dict) else None
        try:
            origin: object = json.loads(_unpadded(str(text))).get("origin")
        except (ValueError, AttributeError, RecursionError):
            return self._origins
        if isinstance(origin, str) and _LOCAL.fullmatch(origin):
            return [*self._origins, origin]
        return self._origins


def _origin_fault(origin: str, rp_id: str) -> str:
    scheme, _, rest = origin.partition("://")
    host = rest.partition(":")[0]
    if "/" in rest or not host:
        return f"origin {origin!r} must be scheme://host[:port]"
    if scheme != "https" and not (scheme == "http" and host == "localhost"):
        return f"origin {origin!r} must be https: browsers have no passkeys elsewhere, except on http://localhost"
    if host != rp_id and not host.endswith(f".{rp_id}"):
        return f"origin {origin!r} does not belong to rp_id {rp_id!r}"
    return ""


def _parsed(answer: str) -> dict[str, Any]:
    if len(answer) > _ANSWER_CHARACTERS:
        raise PasskeyError(f"{len(answer)} characters, limit {_ANSWER_CHARACTERS}")
    try:
        found: object = json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise PasskeyError("malformed") from error
    if not isinstance(found, dict):
        raise PasskeyError("malformed")
    return cast("dict[str, Any]", found)


def _user_of(parsed: dict[str, Any]) -> bytes:
    response: object = parsed.get("response")
    handle: object = cast("dict[str, object]", response).get("userHandle") if isinstance(response, dict) else None
    try:
        return _unpadded(handle) if isinstance(handle, str) else b""
    except ValueError:
        return b""


def _refusal(error: Exception) -> PasskeyError:
    """Return why an answer is refused. It quotes nothing: the library's texts hold origins and counts of the answer.

    The library raises its own errors for what does not hold, and whatever comes for what it cannot parse.
    """
    if not type(error).__module__.startswith("webauthn."):
        return PasskeyError("malformed")
    text = str(error)
    known = {
        "challenge": "it answers another challenge",
        "origin": "it was made on another site",
        "RP ID": "it was made for another site",
        "User verification": "the user was not verified",
        "not present": "the user was not present",
        "sign count": "its counter did not grow: the key may have a copy",
        "signature": "its signature does not hold",
    }
    return PasskeyError(
        next((words for mark, words in known.items() if mark.lower() in text.lower()), "it does not hold")
    )


def _unpadded(text: str) -> bytes:
    """Return the bytes that browsers write as base64url without padding."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _library() -> "ModuleType":
    try:
        import webauthn  # noqa: PLC0415 - an extra of its own, and slow to load
    except ImportError as error:  # pragma: no cover - the core is installed without it
        message = "archstone.security.Passkeys needs webauthn: pip install 'archstone[passkeys]'"
        raise ImportError(message, name="webauthn") from error
    return cast("ModuleType", webauthn)


def _structs() -> "ModuleType":
    from webauthn.helpers import structs  # noqa: PLC0415 - as the library itself

    return cast("ModuleType", structs)
