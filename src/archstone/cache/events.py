"""Invalidation by event: who changes something says so once, and every cache that cares forgets it.

    bus.subscribe("catalog", "product-cache", invalidates(products, {PriceChanged: ["product:{sku}"]}))

The bus delivers at least once and repeats what failed, so an invalidation is not lost when the store of the cache is
away. A cache that processes share needs one group; memory alone needs a group for each process, since each must hear.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from archstone.cache.cache import Cache
from archstone.cache.errors import KeyTemplateError
from archstone.cache.keys import key_of
from archstone.data import Envelope, Event

__all__ = ["Invalidation", "WrongTags", "invalidates"]

WrongTags: TypeAlias = Sequence[str] | Callable[[Any], Iterable[str]]
"""What an event makes wrong: templates of tags, filled from its fields, or a function from the event to tags."""

_FIELD: Final = re.compile(r"\{([^{}]*)\}")


def invalidates(cache: Cache, tags: Mapping[type[Event], WrongTags]) -> "Invalidation":
    """Return a handler for a bus that invalidates tags of `cache` for each event.

    Args:
        cache: Open while the handler runs.
        tags: For each class of event the tags that it makes wrong. Other events are passed over.

    Raises:
        KeyTemplateError: A template names a field that its event does not have.
    """
    return Invalidation(cache, tags)


class Invalidation:
    """A handler for a bus; see `invalidates`."""

    __slots__ = ("_cache", "_kinds")

    def __init__(self, cache: Cache, tags: Mapping[type[Event], WrongTags]) -> None:
        for kind, wrong in tags.items():
            if not callable(wrong):
                _check(kind, wrong)
        self._cache = cache
        self._kinds = {(kind.event_name, kind.event_version): (kind, wrong) for kind, wrong in tags.items()}

    async def __call__(self, envelope: Envelope) -> None:
        """Invalidate what a message makes wrong."""
        if tags := self.tags(envelope):
            await self._cache.invalidate(tag=tags)

    def tags(self, envelope: Envelope) -> list[str]:
        """Return the tags that a message makes wrong; none for an event that is passed over."""
        found = self._kinds.get((envelope.name, envelope.version))
        if found is None:
            return []
        kind, wrong = found
        event = kind.decode(envelope.payload)
        if callable(wrong):
            return list(wrong(event))
        fields: dict[str, Any] = dict(event)
        return [key_of(template, **fields) for template in wrong]


def _check(kind: type[Event], templates: Sequence[str]) -> None:
    for template in templates:
        for name in _FIELD.findall(template):
            if name not in kind.model_fields:
                raise KeyTemplateError(template, f"{{{name}}} is no field of {kind.__name__}")
