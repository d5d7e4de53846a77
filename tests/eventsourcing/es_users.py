"""The guide's example, as the tests use it."""

from typing import Self

from archstone.data import Event
from archstone.errors import DomainError
from archstone.eventsourcing import Aggregate, apply


class UserCreated(Event, name="estest.user-created", key="user_id"):
    user_id: str
    name: str
    email: str


class EmailChanged(Event, name="estest.email-changed", key="user_id"):
    user_id: str
    email: str


class NameChanged(Event, name="estest.name-changed", key="user_id"):
    user_id: str
    name: str


class SameEmail(DomainError, code="estest.same-email"):
    """It is this address already."""


class User(Aggregate, name="user"):
    name: str = ""
    email: str = ""

    @classmethod
    def create(cls, id: str, *, name: str, email: str) -> Self:
        user = cls(id)
        user.record(UserCreated(user_id=id, name=name, email=email))
        return user

    def change_email(self, email: str) -> None:
        if email == self.email:
            raise SameEmail
        self.record(EmailChanged(user_id=self.id, email=email))

    def change_name(self, name: str) -> None:
        self.record(NameChanged(user_id=self.id, name=name))

    @apply
    def created(self, event: UserCreated) -> None:
        self.name, self.email = event.name, event.email

    @apply
    def email_changed(self, event: EmailChanged) -> None:
        self.email = event.email

    @apply
    def name_changed(self, event: NameChanged) -> None:
        self.name = event.name


def john() -> User:
    user = User.create("1", name="John", email="john@old.com")
    user.change_email("john@email.com")
    user.change_name("John Doe")
    return user
