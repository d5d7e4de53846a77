"""Another address of mail: a link to the new one, and a way back from the old one."""

# ruff: noqa: D102 - each contract says what its operations promise

from archstone import world
from archstone.data import ConstraintError
from archstone.resilience import RateLimitedError
from archstone.systems.shop.users import factorstore, formerly
from archstone.systems.shop.users.contract import EmailTakenError
from archstone.systems.shop.users.emails import EmailChanges, EmailTicket
from archstone.systems.shop.users.events import EmailChangeAsked, EmailChanged, PasswordChanged
from archstone.systems.shop.users.proving import Contact, TicketError, TooManyTriesError
from archstone.systems.shop.users.rows import LIKES, STANDS, USERS, Preferred, Row
from archstone.systems.shop.users.securing import Securing
from archstone.systems.shop.users.tickets import EMAIL_S

__all__ = ["Readdressing"]

_ACTIVE = f"{USERS} WHERE u.id = :id AND {STANDS} AND u.active = 1"
_MOVE = (
    "UPDATE users SET email = :new, password_hash = :new_hash"
    " WHERE id = :id AND email = :old AND password_hash = :old_hash AND active = 1"
)


class Readdressing(Securing, EmailChanges, name="users"):
    """Keeps `EmailChanges` as well."""

    async def ask_email(self, email: str, proof: str | None = None, browser: str | None = None) -> None:
        row = await self._proved(proof, browser)
        held = await formerly.held_of(self.db, row.id)
        if len(held) >= formerly.MOST_HELD:
            raise TooManyTriesError((held[0].until - world.now_us()) / 1_000_000)
        try:
            await self.guard.email_changes.turn(row.id)
        except RateLimitedError as error:
            raise TooManyTriesError(error.retry_after_s) from error
        await self._audit.record("users.email-change-asked", subject=row.id, tx=self.tx)
        try:
            await self.guard.reset_mails.turn(email)
        except RateLimitedError:
            return  # a flood of mails to one address; whether anybody has it was not looked at
        # Looked up by whoever writes the mail: here nothing depends on whether somebody has the address.
        self.tx.publish(EmailChangeAsked(user_id=row.id, email=email, at=world.now()))

    async def email_ticket(self, user_id: str, email: str) -> EmailTicket | None:
        row = await self.db.first(Row, _ACTIVE, id=user_id)
        if row is None or await self._is_taken(email, row.id):
            return None
        ticket = self.guard.tickets.issue("email", EMAIL_S, user=row.id, mark=row.mark, new=email)
        return EmailTicket(ticket=ticket, contact=await self._written_to(row.id, email))

    async def confirm_email(self, ticket: str) -> None:
        told = self.guard.tickets.read("email", ticket)
        row, new = await self.tx.first(Row, _ACTIVE, id=told["user"]), told["new"]
        if row is None or row.mark != told["mark"]:
            raise TicketError
        if await formerly.held_by_others(self.tx, new, row.id):
            raise EmailTakenError(new)
        try:
            moved = await self._move(row, email=new, password_hash=row.password_hash)
        except ConstraintError as error:
            raise EmailTakenError(new) from error
        if not moved:
            raise TicketError
        await formerly.hold(self.tx, row.id, old=row.email, new=new)
        await self._end_others(row.id, keep_browser=None)
        await self._audit.record("users.email-changed", subject=row.id, who=row.id, tx=self.tx)
        self.tx.publish(EmailChanged(user_id=row.id, old=row.email, new=new, at=world.now()))

    async def email_undo_ticket(self, user_id: str, email: str) -> EmailTicket | None:
        row = await self.db.first(Row, _ACTIVE, id=user_id)
        left = await formerly.former(self.db, user_id, email)
        if row is None or left is None:
            return None
        lives_s = (left.until - world.now_us()) // 1_000_000
        ticket = self.guard.tickets.issue("email-undo", lives_s, user=row.id, old=email, at=str(left.changed_at))
        return EmailTicket(ticket=ticket, contact=await self._written_to(row.id, email))

    async def undo_email(self, ticket: str, new: str, code: str = "") -> None:
        told = self.guard.tickets.read("email-undo", ticket)
        row = await self.db.first(Row, _ACTIVE, id=told["user"])
        left = await formerly.former(self.db, told["user"], told["old"])
        if row is None or left is None or str(left.changed_at) != told["at"]:
            raise TicketError
        password_hash = await self._hashed(new, row._replace(email=left.email))  # before the transaction: it takes long
        if await factorstore.had_totp(self.db, row.id, before=left.changed_at):
            await self._second_factor(row, code)
        await self.programs.end_all(row.id)  # first: a crash between the two leaves a link that is good still
        # Whatever was done since, by whoever: what is checked above is looked at again in the transaction.
        if await formerly.former(self.tx, row.id, left.email) != left or not await self._move(
            row, email=left.email, password_hash=password_hash
        ):
            raise TicketError
        await formerly.take_back(self.tx, row.id, left.changed_at)
        await self._end_others(row.id, keep_browser=None)
        await self._audit.record("users.email-undone", subject=row.id, who=row.id, tx=self.tx)
        self.tx.publish(PasswordChanged(user_id=row.id, at=world.now()))

    async def _move(self, row: Row, *, email: str, password_hash: str) -> bool:
        """Give an account another address and password; False if it is not as `row` any more."""
        return bool(
            await self.tx.execute(
                _MOVE, new=email, new_hash=password_hash, id=row.id, old=row.email, old_hash=row.password_hash
            )
        )

    async def _is_taken(self, email: str, user_id: str) -> bool:
        """Return whether an account cannot have an address: somebody has it, perhaps the account itself."""
        found = await self.db.one(int, "SELECT count(*) FROM users WHERE email = :email", email=email)
        return bool(found) or await formerly.held_by_others(self.db, email, user_id)

    async def _written_to(self, user_id: str, email: str) -> Contact:
        liked = await self.db.one(Preferred, LIKES, id=user_id)
        return liked._replace(email=email).contact()
