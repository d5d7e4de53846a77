"""Groups that nobody handles any more.

A service that was taken out of a system, or a topic that a service no longer reads, leaves its registration on the bus:
it goes on collecting messages, until its backlog is full and its whole topic stops. Only a person knows whether the
service comes back, so a start tells of such groups and `archstone forget` drops them; nothing is dropped unasked.
"""

from typing import Any, Final

from archstone.errors import ConfigError, NotFoundError
from archstone.messaging import Bus
from archstone.observability import get_logger
from archstone.services import System

__all__ = ["GroupInUseError", "forget_group", "tell_of_strays"]

_log: Final = get_logger("archstone.runtime")


class GroupInUseError(ConfigError, code="runtime.group-in-use"):
    """The group is handled by a service of the system, so it is not gone. Nothing was dropped."""

    def __init__(self, system: str, group: str) -> None:
        super().__init__(system, group)
        self.system = system
        self.group = group

    def __str__(self) -> str:
        return (
            f"group {self.group!r} is a service of system {self.system!r} and handles its messages: "
            "take the service out of the system first, then forget its group"
        )


async def tell_of_strays(system: System, bus: Bus) -> None:
    """Log a warning for each registration that no service of the system has, with what waits and the way out."""
    for each in await bus.groups():
        if not each.subscribed:
            _log.warning(
                "no service handles the messages of this group: they pile up until its topic stops",
                group=each.group,
                topic=each.topic,
                waiting=each.depth,
                next_step=f"bring its service back, or drop them: archstone forget {system.called} {each.group}",
            )


async def forget_group(system: System, bus: Bus, group: str) -> dict[str, Any]:
    """Drop what the group left behind: its registrations for topics that no service reads as this group any more.

    A group that is still there keeps what it handles. Cut short, it is done by asking again.

    Returns:
        `dropped` messages, `dead` letters, and the `topics`.

    Raises:
        GroupInUseError: All that the group has is handled.
        NotFoundError: There is no such group.
    """
    found = [each for each in await bus.groups() if each.group == group]
    strays = [each.topic for each in found if not each.subscribed]
    if not strays:
        if found:
            raise GroupInUseError(system.name, group)
        gone = sorted({each.group for each in await bus.groups() if not each.subscribed})
        what = f"those without a service are {', '.join(gone)}" if gone else "every group has its service"
        raise NotFoundError(f"no group {group!r} on the bus of system {system.name!r}; {what}")
    dead = {each.channel.topic: each.dead for each in await bus.backlogs() if each.channel.group == group}
    dropped = sum([await bus.forget(group, topic=topic) for topic in strays])
    return {"dropped": dropped, "dead": sum(dead[topic] for topic in strays), "topics": strays}
