"""Invalidation by event: who changes something says so once, and every cache that cares forgets it.

    bus.subscribe("catalog", "product-cache", invalidates(products, {PriceChanged: ["product:{sku}"]}))

The bus delivers at least once and repeats what failed, so an invalidation is not lost when the store of the cache is
away. A cache that processes share needs one group; memory alone needs a group for each process, since each must hear.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from archstone.cache.cache import Cache
from archstone.cache.errors import KeyTemplateError
from archstone.cache.keys import key_of
from archstone.data import Envelope, Event

__all__ = ["invalidates"]

_FIELD: Final = re.compile(r"\{([^{}]*)\}")


def invalidates(cache: Cache, tags: Mapping[type[Event], Sequence[str]]) -> Callable[[Envelope], Awaitable[None]]:
    """Return a handler for a bus that invalidates tags of `cache` for each event.

    Args:
        cache: Open while the handler runs.
        tags: For each class of event the templates of the tags, filled from its fields. Other events are passed over.

    Raises:
        KeyTemplateError: A template names a field that its event does not have.
    """
    for kind, templates in tags.items():
        for template in templates:
            for name in _FIELD.findall(template):
                if name not in kind.model_fields:
                    raise KeyTemplateError(template, f"{{{name}}} is no field of {kind.__name__}")
    kinds = {(kind.event_name, kind.event_version): (kind, tuple(given)) for kind, given in tags.items()}

    async def handle(envelope: Envelope) -> None:
        found = kinds.get((envelope.name, envelope.version))
        if found is None:
            return
        kind, templates = found
        fields: dict[str, Any] = dict(kind.decode(envelope.payload))
        await cache.invalidate(tag=[key_of(template, **fields) for template in templates])

    return handle
