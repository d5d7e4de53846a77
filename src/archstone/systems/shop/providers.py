"""What the shop's services are given besides databases and clients, made from the system's options."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, cast
from urllib.parse import urlsplit

from archstone.cache import Cache
from archstone.data import Database
from archstone.errors import ConfigError
from archstone.resilience import SharedState
from archstone.security import (
    Allowed,
    Audits,
    BreachedList,
    BreachedPasswords,
    DataKeys,
    FileAnchor,
    KeyFile,
    KeyRingFile,
    Passkeys,
    PasswordPolicy,
    Passwords,
    PwnedPasswords,
    RootKeyError,
    RootKeys,
    Tokens,
    UnknownSealKeyError,
)
from archstone.services import Environment
from archstone.systems.shop.checkout import CheckoutForm
from archstone.systems.shop.images.bounds import ImageBounds
from archstone.systems.shop.images.fetching import Fetcher
from archstone.systems.shop.images.proxy import ImageProxy
from archstone.systems.shop.notifications.mailer import Mailer, open_mailer
from archstone.systems.shop.notifications.site import Site
from archstone.systems.shop.payments.bank import Bank
from archstone.systems.shop.payments.guard import GuardedProvider
from archstone.systems.shop.payments.provider import find_provider
from archstone.systems.shop.programs.programs import Programs
from archstone.systems.shop.shipping import addresses
from archstone.systems.shop.shipping.service import Pace
from archstone.systems.shop.users.safeguards import Safeguards
from archstone.systems.shop.window import KEEP_S, Window

__all__ = [
    "POLICY",
    "audits",
    "checkout_form",
    "data_keys",
    "images",
    "limits",
    "mailer",
    "pace",
    "passwords",
    "payment_provider",
    "programs",
    "safeguards",
    "site",
    "tokens",
    "window",
]

POLICY: Final = PasswordPolicy(words=("archstone", "shop", "archstone shop"))
"""What new passwords must be."""
_PUBLIC_URL: Final = "http://localhost:8080"
_DAY_S: Final = 86_400.0

_PACES: Final = {
    "slow": Pace(),
    "fast": Pace(packed_after_s=5.0, shipped_after_s=10.0, delivered_after_s=20.0),
}


def passwords(environment: Environment) -> Passwords:
    """Return what hashes and checks passwords."""
    return Passwords(policy=POLICY, breached=_breached(_option(environment, "breached_passwords", "")))


def _breached(url: str) -> BreachedPasswords | None:
    if not url:
        return None
    parts = urlsplit(url)
    return BreachedList(parts.path) if parts.scheme == "file" else PwnedPasswords(url)


def audits(environment: Environment) -> Audits:
    """Return the audit logs: that of the system in `audit.db`, their key and their anchor in files of their own."""
    key = KeyFile(environment.data / "audit-key.json").load().keys[-1]
    days = _option(environment, "audit_keep_days", "730")
    if not days.isascii() or not days.isdigit() or not 1 <= int(days) <= 36_500:
        raise ConfigError(f"option audit_keep_days={days!r}: write a number of days, 1 to 36500")
    url = f"sqlite:///{(environment.data / 'audit.db').absolute()}"
    anchor = FileAnchor(environment.data / "audit-anchor.json", key=key)
    return Audits(url, key=key, anchor=anchor, keep_s=int(days) * _DAY_S)


def site(environment: Environment) -> Site:
    """Return where the shop is reached."""
    return Site(_public_url(environment))


def limits(environment: Environment) -> SharedState | None:
    """Return where tries, sign-ups, mails and requests are counted for all processes. None: each counts its own."""
    url = _option(environment, "limits", "")
    return SharedState(url) if url else None


def safeguards(environment: Environment) -> Safeguards:
    """Return what guards accounts."""
    origin = _public_url(environment)
    is_public, asked = urlsplit(origin).scheme == "https", _option(environment, "admins_need_factor", "auto")
    if not is_public:
        origin = _PUBLIC_URL  # browsers have no passkeys elsewhere, except on localhost, whatever its port
    host = urlsplit(origin).hostname or ""
    return Safeguards(
        keys=KeyFile(environment.data / "factors-key.json").load(),
        passkeys=Passkeys(rp_id=host, rp_name="Archstone Shop", origins=[origin]),
        shared=environment.provided.get(SharedState),
        admins_need_factor=is_public if asked == "auto" else asked == "yes",
        sign_up_by_mail=_option(environment, "sign_up", "at-once") == "by-mail",
    )


def tokens(environment: Environment) -> Tokens:
    """Return what signs and verifies access tokens, with keys made at the first start."""
    keys = KeyFile(environment.data / "keys.json").load()
    return Tokens(keys, issuer=environment.system, audience=f"{environment.system}-api")


def programs(environment: Environment) -> Programs:
    """Return what lets programs in, with keys made at the first start."""
    ring = KeyRingFile(environment.data / "oauth-keys.json")
    return Programs(
        Database(environment.database_url("programs"), name=f"{environment.system}/programs"),
        pepper=KeyFile(environment.data / "api-keys.json").load(),
        ring=ring.renewed,
        issuer=f"{_public_url(environment)}/oauth",
        api=f"{environment.system}-api",
        audits=environment.provided[Audits],
        shared=environment.provided.get(SharedState),
    )


@asynccontextmanager
async def data_keys(environment: Environment) -> AsyncGenerator[DataKeys]:
    """Return the keys that seal what is personal, made at the first start and wrapped by the newest root key."""
    file, stored = environment.data / "encryption.json", environment.data / "datakeys.db"
    if _option(environment, "root_keys", "file") == "environment":
        roots, where = RootKeys.from_environment(), "ARCHSTONE_ROOT_KEYS"
    else:
        roots, where = RootKeys.from_file(file, make=not stored.exists()), str(file)
    async with Database(f"sqlite:///{stored.absolute()}") as db:
        keys = DataKeys(db, roots)
        await keys.open()
        try:
            await keys.rewrap()  # so that after a new root key and a start the old one opens nothing
            # Made here: later it would be in the transaction of a parcel. And a root key that is lost is noticed now.
            await keys.ring(addresses.SCOPE)
        except UnknownSealKeyError as error:
            told = f"root key {error.key}, under which the data keys lie, is not among them: put it back"
            raise RootKeyError(where, told) from error
        yield keys
        await keys.close()


def payment_provider(environment: Environment) -> GuardedProvider:
    """Return the embedded bank, or the plug-in that the option `payments` names, behind what keeps it from hurting."""
    name = _option(environment, "payments", "bank")
    if name == "bank":
        return GuardedProvider(Bank(f"sqlite:///{(environment.data / 'bank.db').absolute()}"))
    return GuardedProvider(find_provider(name)(environment.data, _options(environment)))


def window(environment: Environment) -> Window:
    """Return what keeps near what is only looked at, where the option `cache` says."""
    return Window(Cache(_option(environment, "cache", "memory:"), name=environment.system, ttl_s=KEEP_S))


def checkout_form(environment: Environment) -> CheckoutForm:
    """Return who carries new orders to their end."""
    return CheckoutForm(_option(environment, "checkout", CheckoutForm.SAGA.value))


def mailer(environment: Environment) -> AbstractAsyncContextManager[Mailer]:
    """Return the mailer that the option `mailer` names."""
    return open_mailer(_option(environment, "mailer", "files"), environment.data / "mails")


def pace(environment: Environment) -> Pace:
    """Return how fast parcels come along."""
    name = _option(environment, "parcels", "slow")
    if name not in _PACES:
        raise ConfigError(f"option parcels={name!r}: take one of {', '.join(_PACES)}")
    return _PACES[name]


def images(environment: Environment) -> ImageProxy | None:
    """Return what fetches pictures of elsewhere; None where products are drawn only."""
    allowed = Allowed.parse(_option(environment, "images_allow", ""), called="option images_allow")
    if _option(environment, "images", "proxy") == "drawn":
        return None
    bounds = ImageBounds()
    return ImageProxy(environment.data / "images", Fetcher(allowed, bounds).fetch, bounds)


def _public_url(environment: Environment) -> str:
    return _option(environment, "public_url", _PUBLIC_URL).rstrip("/")


def _options(environment: Environment) -> Mapping[str, str]:
    return cast("Mapping[str, str]", environment.settings.get("options", {}))


def _option(environment: Environment, name: str, default: str) -> str:
    return _options(environment).get(name, default)
