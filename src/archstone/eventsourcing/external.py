"""Read models where no transaction reaches: a cache, a search server.

    class UserSearch(External, name="user-search", outside=(UserCreated, NameChanged, PersonErased)):
        async def document(self, recorded: Recorded[Event]) -> Change | None:
            match recorded.event:
                case PersonErased(person=person):
                    return Change(person, None)
                case UserCreated(user_id=id) | NameChanged(user_id=id):
                    user = await self.users.load(User, id)
                    return Change(id, {"name": user.name, "email": user.email})

    async with OpenSearchTarget("http://search:9200", index="users-1") as target, Projector(store, UserSearch(target)):
        ...

Promise: at least once, and the same in effect. Documents are written before the checkpoint moves, so after a crash, a
failure or a take-over they are written again; each carries the position of its event as its version, and the target
drops what is not newer than what it has. So write whole documents: a part, or a sum, would count twice.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from archstone.data import Event
from archstone.eventsourcing.projection import Projection
from archstone.eventsourcing.recorded import Recorded

__all__ = ["Change", "Document", "External", "Target"]


class Change(NamedTuple):
    """What a document is from an event on."""

    id: str
    body: Mapping[str, Any] | None
    """All of it, as JSON values. None: there is no such document any more."""


class Document(NamedTuple):
    """A document with its version."""

    id: str
    version: int
    """Position of the event that made it so. At least 1."""
    body: Mapping[str, Any] | None
    """None: it is to be deleted."""


class Target(Protocol):
    """Where documents lie."""

    async def write(self, documents: Sequence[Document]) -> None:
        """Write all of `documents`, whose ids differ, except those of which a later or the same version was written.

        Deleting counts as a version too. What this raises has them all written again.
        """
        ...


class External(Projection):
    """Subclass it with `name`, `version` and `outside` as class arguments, and say what each event makes of a document.

    A later version is made beside the one before only if its target is another: another index, another prefix of keys.
    """

    def __init__(self, target: Target) -> None:
        self.target = target

    async def document(self, recorded: Recorded[Event]) -> Change | None:
        """Return the document as it is from an event on; None: the event changes none.

        It may read, the aggregate for one: what it reads may be newer than the event, never older.
        """
        raise NotImplementedError(f"{type(self).__qualname__} has no method document: say what each event makes of one")

    async def write_outside(self, events: Sequence[Recorded[Event]]) -> None:
        """Write the documents of a batch, each once, as its last event made it."""
        newest: dict[str, Document] = {}
        for each in events:
            change = await self.document(each)
            if change is not None:
                newest[change.id] = Document(change.id, each.position, change.body)
        if newest:
            await self.target.write(tuple(newest.values()))
