"""HTML of strangers, without what could run, load or deceive. By nh3 (ammonia), which parses as browsers do.

    POST = HtmlPolicy()                       # paragraphs, emphasis, lists, quotes, links
    body: Annotated[str, AfterValidator(POST.clean)]

Promise: what comes out holds the tags and attributes of the policy and no others; scripts, styles, event handlers,
comments and addresses of other schemes are gone; links say that nothing is vouched for. Cleaning twice changes nothing.
Escape text where you show it, too: cleaning is for what shall be HTML. Do not clean and then change the result.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from archstone.errors import ConfigError
from archstone.security.input.errors import InputError

if TYPE_CHECKING:
    import nh3

__all__ = ["HtmlPolicy", "text_only"]

_LINKS: Final[Mapping[str, frozenset[str]]] = MappingProxyType({"a": frozenset({"href", "title"})})
_NEVER: Final = frozenset({
    "script", "style", "iframe", "frame", "object", "embed", "applet", "base", "link", "meta", "form", "svg", "math",
    "template", "noscript", "textarea", "select", "input", "button",
})  # fmt: skip


_RUNNING: Final = frozenset({"javascript", "data", "vbscript", "blob", "file"})


@dataclass(frozen=True)
class HtmlPolicy:
    """Which HTML is taken."""

    tags: frozenset[str] = frozenset(
        ["p", "br", "strong", "em", "u", "ul", "ol", "li", "blockquote", "pre", "code", "a"]
    )
    attributes: Mapping[str, frozenset[str]] = field(default_factory=lambda: _LINKS)
    """By tag."""
    schemes: frozenset[str] = frozenset({"https", "http", "mailto"})
    """Of links. Relative ones are left out."""
    most_chars: int = 100_000
    """Longer input is refused. Above 0."""

    def __post_init__(self) -> None:
        faults = [f"tag {each} cannot be made safe" for each in sorted(_NEVER & self.tags)]
        for tag, names in self.attributes.items():
            wrong = sorted(each for each in names if each.startswith("on") or each in {"style", "srcdoc", "id", "name"})
            faults += [f"attribute {each} of {tag} cannot be made safe" for each in wrong]
        faults += [f"scheme {each} runs or hides things" for each in sorted(self.schemes & _RUNNING)]
        if self.most_chars <= 0:
            faults.append("most_chars must be above 0")
        if faults:
            raise ConfigError(f"HTML policy: {'; '.join(faults)}")

    @cached_property
    def _cleaner(self) -> "nh3.Cleaner":
        import nh3  # noqa: PLC0415 - of the extra `security`, and only who cleans needs it

        return nh3.Cleaner(
            tags=set(self.tags),
            attributes={tag: set(names) for tag, names in self.attributes.items()},
            url_schemes=set(self.schemes),
            url_relative="deny",
            link_rel="noopener noreferrer nofollow ugc",
        )

    def clean(self, text: str) -> str:
        """Return what is left of a stranger's HTML. Unclosed tags are closed, loose `<` and `&` escaped.

        Raises:
            InputError: It is too long.
        """
        if len(text) > self.most_chars:
            raise InputError("large", f"{len(text)} characters of HTML, at most {self.most_chars}")
        return self._cleaner.clean(text)


_NOTHING: Final = HtmlPolicy(tags=frozenset(), attributes={})


def text_only(text: str) -> str:
    """Return a stranger's HTML without any tag, escaped: it can stand in a page.

    Raises:
        InputError: It is too long.
    """
    return _NOTHING.clean(text)
