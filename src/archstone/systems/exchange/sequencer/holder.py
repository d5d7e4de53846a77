"""Who alone may submit to a node: an exchange that is not to have another one beside it."""

from archstone.systems.exchange.sequencer.network import Link

__all__ = ["Holder"]


class Holder:
    """Nobody in particular, and then all may; or who has asked for it, for as long as it is connected.

    Only who leads is asked, and acknowledges anything, so that in the order of all commands those of one holder come
    before those of the next, and never between them.
    """

    def __init__(self) -> None:
        """Begin with nobody."""
        self.name = ""
        """As it calls itself, another one each time that a process starts. Empty: nobody holds."""
        self._link: Link | None = None

    def take(self, link: Link, name: str) -> bool:
        """Let who has connected submit alone; False: another one does.

        Its own older connection ends: it has lost that one, and this node may not know yet.
        """
        if self._link is not None and self.name != name:
            return False
        if self._link is not None and self._link is not link:
            self._link.close()
        self.name, self._link = name, link
        return True

    def leave(self, link: Link) -> None:
        """Forget a connection that has ended."""
        if self._link is link:
            self.name, self._link = "", None

    def admits(self, link: Link) -> bool:
        """Return whether what comes over a connection is done."""
        return self._link is None or self._link is link
