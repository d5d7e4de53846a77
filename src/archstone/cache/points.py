"""Where a process may die while it writes behind."""

from typing import Final

from archstone.world import declare_point

__all__ = ["AFTER_SAVE"]

AFTER_SAVE: Final = declare_point(
    "cache.after_save", "values written behind are at the origin and still in the buffer: they will be saved again"
)
