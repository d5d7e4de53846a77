"""The second factors of somebody's own account, and the recent proof that changing them asks for."""

# ruff: noqa: D102 - each contract says what its operations promise

from archstone import world
from archstone.data import ConstraintError
from archstone.security import PasskeyError
from archstone.systems.shop.users import browsers, factorstore
from archstone.systems.shop.users.contract import UserUnknownError
from archstone.systems.shop.users.proving import (
    BackupCodesOnce,
    Factors,
    FactorsError,
    NotProvedError,
    PasskeyAsk,
    PasskeyRefusedError,
    Proof,
    SecurityView,
    TicketError,
    TotpOffer,
    WrongCodeError,
    WrongPasswordError,
)
from archstone.systems.shop.users.rows import USERS, Row
from archstone.systems.shop.users.signing import SigningIn, totp_context
from archstone.systems.shop.users.tickets import CEREMONY_S, OFFER_S, PROOF_S, digest

__all__ = ["Securing"]

_NO_APP = "no app makes codes for this account: set one up first"


class Securing(SigningIn, Factors, name="users"):
    """Keeps `Factors` as well."""

    async def security(self) -> SecurityView:
        row = await self._own()
        seen_after, begun_after = browsers.limits()
        sessions = await factorstore.sessions_of(self.db, row.id, seen_after=seen_after, begun_after=begun_after)
        return SecurityView(
            totp=bool(row.totp),
            codes_left=await factorstore.codes_left(self.db, row.id),
            passkeys=tuple(each.view() for each in await factorstore.passkeys_of(self.db, row.id)),
            sessions=tuple(each.view() for each in sessions),
        )

    async def prove(self, password: str, code: str = "", browser: str | None = None) -> Proof:
        row = await self._asked_again(password)
        if row.totp:
            await self._second_factor(row, code)
        if browser is not None:
            await browsers.prove(self.tx, browser, row.id)
        proof = self.guard.tickets.issue("proof", PROOF_S, user=row.id, mark=row.mark)
        return Proof(proof=proof, expires_in=PROOF_S)

    async def offer_totp(self) -> TotpOffer:
        row, totp = await self._own(), self.guard.totp
        secret = totp.new_secret()
        return TotpOffer(
            secret=totp.text_of(secret),
            svg=totp.qr_svg(secret, account=row.email),
            offer=self.guard.tickets.issue("totp-offer", OFFER_S, user=row.id, secret=secret.hex()),
        )

    async def add_totp(
        self, offer: str, code: str, proof: str | None = None, browser: str | None = None
    ) -> BackupCodesOnce:
        row = await self._proved(proof, browser)
        told = self.guard.tickets.read("totp-offer", offer)
        if told["user"] != row.id:
            raise TicketError
        secret = bytes.fromhex(told["secret"])
        async with self._tries(self.guard.codes, row.id, (WrongCodeError,), "users.totp-added", subject=row.id):
            step = self.guard.totp.match(secret, code)
            if step is None:
                raise WrongCodeError
        fresh = await self._backup.make()  # before the transaction: it takes a while
        sealed = self.guard.ring.seal(secret, context=totp_context(row.id))
        await factorstore.put_totp(self.tx, row.id, sealed, step)
        await factorstore.put_codes(self.tx, row.id, fresh.rows)
        await self._end_others(row.id, keep_browser=browser)
        await self._tell(row.id, "totp-added")
        return BackupCodesOnce(codes=fresh.texts)

    async def remove_totp(self, proof: str | None = None, browser: str | None = None) -> None:
        row = await self._proved(proof, browser)
        if not await factorstore.drop_totp(self.tx, row.id):
            raise FactorsError(_NO_APP)
        await self._end_others(row.id, keep_browser=browser)
        await self._tell(row.id, "totp-removed")

    async def renew_codes(self, proof: str | None = None, browser: str | None = None) -> BackupCodesOnce:
        row = await self._proved(proof, browser)
        if not row.totp:
            raise FactorsError(_NO_APP)
        fresh = await self._backup.make()
        await factorstore.put_codes(self.tx, row.id, fresh.rows)
        await self._tell(row.id, "codes-renewed")
        return BackupCodesOnce(codes=fresh.texts)

    async def ask_new_passkey(self) -> PasskeyAsk:
        row = await self._own()
        known = await factorstore.passkeys_of(self.db, row.id)
        if len(known) >= factorstore.MOST_PASSKEYS:
            raise FactorsError(f"there are {len(known)} passkeys already: remove one first")
        asked = self.guard.passkeys.begin_registration(
            bytes.fromhex(row.id), row.email, display_name=row.name, known=[bytes(each.credential) for each in known]
        )
        facts = {"user": row.id, "challenge": asked.challenge.hex()}
        return PasskeyAsk(options=asked.options, ceremony=self.guard.tickets.issue("new-passkey", CEREMONY_S, **facts))

    async def add_passkey(
        self, ceremony: str, answer: str, name: str, proof: str | None = None, browser: str | None = None
    ) -> None:
        row = await self._proved(proof, browser)
        told = self.guard.tickets.read("new-passkey", ceremony)
        if told["user"] != row.id:
            raise TicketError
        try:
            made = self.guard.passkeys.finish_registration(answer, bytes.fromhex(told["challenge"]))
        except PasskeyError as error:
            raise PasskeyRefusedError from error
        if not await factorstore.use_ceremony(self.tx, digest(ceremony), int(told["until"])):
            raise TicketError
        kept = factorstore.PasskeyRow(
            world.new_id(), row.id, made.id, made.public_key, made.sign_count, name, world.now_us(), None
        )
        if len(await factorstore.passkeys_of(self.tx, row.id)) >= factorstore.MOST_PASSKEYS:
            raise FactorsError("there are too many passkeys already: remove one first")
        try:
            await factorstore.add_passkey(self.tx, kept)
        except ConstraintError as error:  # somebody has registered this key already
            raise PasskeyRefusedError from error
        await self._tell(row.id, "passkey-added")

    async def remove_passkey(self, passkey_id: str, proof: str | None = None, browser: str | None = None) -> None:
        row = await self._proved(proof, browser)
        if await factorstore.drop_passkey(self.tx, row.id, passkey_id):
            await self._tell(row.id, "passkey-removed")

    async def _own(self) -> Row:
        """Return who is signed in; UserUnknownError where the account was closed or deleted."""
        row = await self.db.first(Row, f"{USERS} WHERE u.id = :id AND u.active = 1", id=self.principal.id)
        if row is None:
            raise UserUnknownError
        return row

    async def _proved(self, proof: str | None, browser: str | None) -> Row:
        """Return who is signed in, if they have proved who they are a short while ago.

        Raises:
            NotProvedError: they have not.
        """
        row = await self._own()
        if proof is not None:
            try:
                told = self.guard.tickets.read("proof", proof)
            except TicketError as error:
                raise NotProvedError from error
            if (told["user"], told.get("mark")) == (row.id, row.mark):
                return row
        elif browser is not None:
            at = await self.db.first(
                int, "SELECT proved_at FROM browser_sessions WHERE mark = :mark AND user_id = :id",
                mark=browser, id=row.id,
            )  # fmt: skip
            if at is not None and browsers.proved(at):
                return row
        raise NotProvedError

    async def _asked_again(self, password: str) -> Row:
        """Return who is signed in, after checking the password once more. No transaction has begun yet.

        Raises:
            UserUnknownError: the account was closed or deleted.
            WrongPasswordError: it is not the password.
            TooManyTriesError: too many were wrong.
        """
        row = await self._own()
        known = await self._knows_place(row.id)
        async with self._tries(
            self.guard.passwords, row.email, (WrongPasswordError,), "users.proof", subject=row.id, known=known
        ):
            if not (await self.passwords.verify(row.password_hash, password)).right:
                raise WrongPasswordError
        return row
