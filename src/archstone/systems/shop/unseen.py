"""Characters that nobody sees and that change what others see: taken out of texts of strangers.

One that turns the direction of writing turns also what stands after it on a page that is not the writer's: with one
before it, `gnp.exe` reads `exe.png`. One without width makes two names look the same. Joiners are both: where Persian,
Hindi or an emoji needs them they stay. Not for descriptions with line breaks: line and paragraph separators go too.
"""

import re
from typing import Final

__all__ = ["SEEN", "without_unseen"]

# C1 controls, soft hyphen, marks and overrides of direction, separators, without width, fillers, annotations, tags.
_CLASS: Final = (
    "\x80-\x9f\xad\u061c\u115f\u1160\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb"
    "\U000e0000-\U000e007f"
)
_UNSEEN: Final = re.compile(f"[{_CLASS}]")
# Letters of Europe never join; every script that does, and every emoji, stands behind them.
_IDLE_JOINER: Final = re.compile(
    r"(?<![^\x00-\u02ff\u2000-\u206f\s])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\u02ff\u2000-\u206f\s])"
)


SEEN: Final = f"^[{_CLASS}\u200c\u200d]*[^\\x00-\\x20\\x7f{_CLASS}\u200c\u200d][^\\x00-\\x1f\\x7f]*$"
"""Pattern of a text of which something is left that does not begin with a blank, and without C0 controls.

The characters themselves are in it, since the languages of patterns write them in ways of their own.
"""


def without_unseen(text: str) -> str:
    """Return the text without what nobody sees; joiners stay between characters that join."""
    return _IDLE_JOINER.sub("", _UNSEEN.sub("", text))
