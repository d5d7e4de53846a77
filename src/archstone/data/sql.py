"""SQL text, read once: which parameters it names, where its statements end, and whether it may run.

A `Statement` is compiled at its first use and cached by its text. Parameters are written `:name`; what stands in quotes
or comments is not looked at, and `::` is left alone. This is a lexer, not a parser: the database judges the rest.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from operator import itemgetter
from typing import Final, NamedTuple, cast

from archstone.data.errors import StatementError

__all__ = ["Statement", "Token", "compile_statement", "known_statement", "split_script", "tokens"]

CACHE_LIMIT: Final = 4096
"""Texts kept. Above it the cache starts anew: a program that builds texts without end stays bounded."""

_LEXER: Final = re.compile(
    r"""
      (?P<space>\s+|--[^\n]*|/\*.*?(?:\*/|\Z))
    | (?P<quoted>'(?:[^']|'')*(?:'|\Z) | "(?:[^"]|"")*(?:"|\Z) | `(?:[^`]|``)*(?:`|\Z) | \[[^\]]*(?:\]|\Z)
        | \$\$.*?(?:\$\$|\Z) | \$(?P<tag>[^\W\d]\w*)\$.*?(?:\$(?P=tag)\$|\Z))
    | (?P<cast>::+)
    | (?P<parameter>:[^\W\d]\w*)
    | (?P<word>[^\W\d][\w$]*)
    | (?P<number>\d[\w.]*)
    | (?P<end>;)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)

_REFUSED_FIRST: Final = frozenset(
    {
        "ABORT",
        "ATTACH",
        "BEGIN",
        "COMMIT",
        "DETACH",
        "END",
        "PRAGMA",
        "PREPARE",
        "RELEASE",
        "ROLLBACK",
        "SAVEPOINT",
        "START",
        "VACUUM",
    }
)


class Token(NamedTuple):
    """A piece of SQL text: `kind` is space, quoted, cast, parameter, word, number, end or other."""

    kind: str
    text: str


def tokens(text: str) -> Iterator[Token]:
    """Yield the tokens of `text`; joined again they are `text`. Never fails: an open quote runs to the end."""
    for match in _LEXER.finditer(text):
        kind = match.lastgroup or "other"
        yield Token("quoted" if kind == "tag" else kind, match.group())


class Statement:
    """One SQL statement, ready to bind."""

    __slots__ = ("_getter", "_only", "counting", "dollars", "names", "source", "text")

    def __init__(self, source: str, text: str, names: tuple[str, ...], *, dollars: str, counts: bool) -> None:
        self.source = source
        """The text as it was written."""
        self.text = text
        """The text with numbered parameters `?1`, `?2`."""
        self.names = names
        """Parameter names in the order of their numbers."""
        self.dollars = dollars
        """The text with numbered parameters `$1`, `$2`."""
        self.counting = f"{dollars}\nRETURNING ${len(names) + 1}::bigint" if counts else None
        """For several at once: the text with one more parameter, which each row that it changes gives back. None where
        that cannot be."""
        self._only = names[0] if len(names) == 1 else None  # itemgetter gives no tuple for one, and a lambda costs more
        self._getter = cast("Getter", itemgetter(*names)) if len(names) > 1 else _none

    def bind(self, params: Mapping[str, object]) -> tuple[object, ...]:
        """Return the values in the order of the numbers.

        Raises:
            StatementError: A parameter is missing or one too many; the text names it.
        """
        if len(params) == len(self.names):
            try:
                return (params[self._only],) if self._only is not None else self._getter(params)
            except KeyError:
                pass
        raise StatementError(self.source, self._mismatch(params))

    def _mismatch(self, params: Mapping[str, object]) -> str:
        missing = [f":{name}" for name in self.names if name not in params]
        extra = [f"{name}=" for name in params if name not in self.names]
        parts = ["missing parameter " + ", ".join(missing)] if missing else []
        parts += ["unknown parameter " + ", ".join(extra)] if extra else []
        return "; ".join(parts)


Getter = Callable[[Mapping[str, object]], tuple[object, ...]]


def _none(_: Mapping[str, object]) -> tuple[object, ...]:
    return ()


_cache: dict[str, Statement] = {}


known_statement: Final = _cache.get
"""Return the Statement of a text that was compiled before, or None: `known_statement(sql) or compile_statement(sql)`
where the frame of a call counts."""


def compile_statement(source: str) -> Statement:
    """Return the Statement of `source`, from the cache where it was seen before.

    Raises:
        StatementError: It is empty, several statements, or one that an engine may not run inside its groups.
    """
    statement = _cache.get(source)
    if statement is None:
        if len(_cache) >= CACHE_LIMIT:
            _cache.clear()
        statement = _cache[source] = _compile(source)
    return statement


def _compile(source: str) -> Statement:
    pieces = list(tokens(source))
    refuse(source, [piece for piece in pieces if piece.kind != "space"])
    numbers: dict[str, int] = {}
    for piece in pieces:
        if piece.kind == "parameter":
            numbers.setdefault(piece.text[1:], len(numbers) + 1)
    return Statement(
        source,
        _numbered(pieces, numbers, "?"),
        tuple(numbers),
        dollars=_numbered(_unended(pieces), numbers, "$").rstrip(),
        counts=_counts([piece.text.upper() for piece in pieces if piece.kind == "word"]),
    )


def _unended(pieces: list[Token]) -> list[Token]:
    """Return the tokens without the semicolons at the end, where more may be written behind; comments stay."""
    last = max(place for place, piece in enumerate(pieces) if piece.kind not in {"space", "end"})
    return pieces[: last + 1] + [piece for piece in pieces[last + 1 :] if piece.kind == "space"]


def _numbered(pieces: list[Token], numbers: Mapping[str, int], mark: str) -> str:
    return "".join(f"{mark}{numbers[piece.text[1:]]}" if piece.kind == "parameter" else piece.text for piece in pieces)


def _counts(words: list[str]) -> bool:
    return words[:1] in (["INSERT"], ["UPDATE"], ["DELETE"]) and "RETURNING" not in words


def refuse(source: str, pieces: list[Token]) -> None:
    """Raise StatementError if these tokens (without space) are not one statement that may run in a group."""
    if not [piece for piece in pieces if piece.kind != "end"]:
        raise StatementError(source, "there is no statement")
    if len(_split(pieces)) > 1:
        raise StatementError(source, "several statements in one text: run them one by one")
    words = [piece.text.upper() if piece.kind == "word" else "" for piece in pieces]
    if words[0] in _REFUSED_FIRST:
        raise StatementError(source, f"{words[0]} is for the engine to say, not for a statement")
    if fault := _dangerous(pieces, words):
        raise StatementError(source, fault)


def _dangerous(pieces: list[Token], words: list[str]) -> str | None:
    # A deferred constraint passes RELEASE and fails the COMMIT of everybody in the group (trap T3); ROLLBACK as a
    # conflict clause drops the neighbours; FAIL keeps half of a statement, which runs without a savepoint of its own.
    for position, word in enumerate(words):
        before = words[position - 1] if position else ""
        if word == "DEFERRED" and before == "INITIALLY":
            return "INITIALLY DEFERRED constraints are refused: they would fail the commit of other transactions"
        if word in {"ROLLBACK", "FAIL"} and _is_conflict_clause(pieces, words, position):
            return f"the conflict clause {word} is refused: it would reach beyond the statement; use ABORT"
    return None


def _is_conflict_clause(pieces: list[Token], words: list[str], position: int) -> bool:
    before = words[max(position - 2, 0) : position]
    return before in (["INSERT", "OR"], ["UPDATE", "OR"], ["REPLACE", "OR"], ["ON", "CONFLICT"]) or (
        before == ["RAISE", ""] and pieces[position - 1].text == "("
    )


def split_script(script: str) -> list[str]:
    """Return the statements of a migration file in order, without the semicolons; a trigger's body stays whole."""
    statements = _split(list(tokens(script)))
    texts = ("".join(piece.text for piece in pieces).strip() for pieces in statements)
    return [text for text in texts if any(token.kind != "space" for token in tokens(text))]


def _split(pieces: list[Token]) -> list[list[Token]]:
    # As SQLite's own sqlite3_complete: a trigger ends at the semicolon after an END that follows a semicolon.
    statements: list[list[Token]] = []
    current: list[Token] = []
    words: list[str] = []
    for piece in pieces:
        if piece.kind == "end" and not (_in_trigger(words) and words[-2:] != [";", "END"]):
            statements.append(current)
            current, words = [], []
            continue
        current.append(piece)
        if piece.kind != "space":
            words.append(piece.text.upper())
    statements.append(current)
    return [statement for statement in statements if any(piece.kind != "space" for piece in statement)]


def _in_trigger(words: list[str]) -> bool:
    return words[:2] == ["CREATE", "TRIGGER"] or (
        words[:1] == ["CREATE"] and words[1:2] in (["TEMP"], ["TEMPORARY"]) and words[2:3] == ["TRIGGER"]
    )
