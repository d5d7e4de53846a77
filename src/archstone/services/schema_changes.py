"""What a change of a JSON schema breaks.

There are two sides. What the other side writes (arguments, events on their way) the new code must go on reading:
nothing may be narrowed, nothing new be required. What the other side reads (results, events to come) the new code must
go on writing: nothing may be dropped, widened or made optional. Unknown fields are ignored by all readers.
"""

import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, cast

__all__ = ["changes"]

_LOWER: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_EXACT: Final = ("pattern", "format", "multipleOf", "uniqueItems", "const", "contentEncoding")
_WORDS: Final = ("title", "description", "examples", "default")


def changes(old: dict[str, Any], new: dict[str, Any], *, written_by_other_side: bool) -> list[str]:
    """Return what breaks when a value's schema goes from `old` to `new`, one phrase each.

    Args:
        old: JSON schema of the last release.
        new: JSON schema of this one.
        written_by_other_side: True: the other side writes by `old`, we read by `new`. False: we write by `new`, the
            other side reads by `old`.
    """
    look = _Look(written_by_other_side)
    return list(_compared(look, _inlined(old, old), _inlined(new, new), "it"))


class _Look(NamedTuple):
    we_read: bool


def _compared(look: _Look, old: dict[str, Any], new: dict[str, Any], where: str) -> Iterator[str]:
    if _same(old, new) or (look.we_read and not new):
        return
    olds, news = _choices(old), _choices(new)
    if len(olds) > 1 or len(news) > 1:
        yield from _unions(look, olds, news, where)
        return
    if old.get("type") != new.get("type"):
        widened = {old.get("type"), new.get("type")} == {"integer", "number"}
        if not (widened and (new.get("type") == "number") == look.we_read):
            yield f"{where} changed from {_told(old)} to {_told(new)}"
        return
    yield from _values(look, old, new, where)
    yield from _bounds(look, old, new, where)
    if "properties" in old or "properties" in new:
        yield from _objects(look, old, new, where)
    for inside in ("items", "additionalProperties"):
        if isinstance(old.get(inside), dict) and isinstance(new.get(inside), dict):
            yield from _compared(look, old[inside], new[inside], f"each of {where}")
    yield from _positions(look, old.get("prefixItems", []), new.get("prefixItems", []), where)


def _unions(look: _Look, olds: list[dict[str, Any]], news: list[dict[str, Any]], where: str) -> Iterator[str]:
    """Every form that is written must be one that is read."""
    written, read = (olds, news) if look.we_read else (news, olds)
    for form in written:
        pairs = ((form, other) if look.we_read else (other, form) for other in read)
        if all(list(_compared(look, old, new, where)) for old, new in pairs):
            yield f"{where} may be {_told(form)}, which {'we no longer read' if look.we_read else 'they do not read'}"


def _values(look: _Look, old: dict[str, Any], new: dict[str, Any], where: str) -> Iterator[str]:
    if "enum" not in old and "enum" not in new:
        return
    olds, news = (set(map(json.dumps, each.get("enum", []))) for each in (old, new))
    if look.we_read and "enum" in new:
        gone = ", ".join(sorted(olds - news)) if olds else "anything else"
        if gone:
            yield f"{where} can no longer be {gone}"
    elif not look.we_read and "enum" in old:
        added = ", ".join(sorted(news - olds)) if news else "anything"
        if added:
            yield f"{where} can also be {added}"


def _bounds(look: _Look, old: dict[str, Any], new: dict[str, Any], where: str) -> Iterator[str]:
    if not look.we_read:
        return  # a reader of results does not check bounds that its writer keeps
    for bound in (*_LOWER, *_UPPER):
        before, after = old.get(bound), new.get(bound)
        if after is not None and (before is None or (after > before if bound in _LOWER else after < before)):
            yield f"{where}: {bound} is {after}, it was {'without limit' if before is None else before}"
    for rule in _EXACT:
        if rule in new and old.get(rule) != new[rule]:
            yield f"{where}: {rule} is {new[rule]!r}, it was {old.get(rule, 'free')!r}"


def _objects(look: _Look, old: dict[str, Any], new: dict[str, Any], where: str) -> Iterator[str]:
    olds, news = old.get("properties", {}), new.get("properties", {})
    old_required, new_required = set(old.get("required", [])), set(new.get("required", []))
    if look.we_read:
        for name in sorted(new_required - old_required):
            yield f"{_inside(where, name)} is required"
        for name in sorted(set(olds) - set(news)):
            yield f"{_inside(where, name)} is gone, what is given there is ignored"
    else:
        for name in sorted(set(olds) - set(news)):
            yield f"{_inside(where, name)} is gone"
        for name in sorted((old_required - new_required) & set(news)):
            yield f"{_inside(where, name)} can be absent"
    for name in sorted(set(olds) & set(news)):
        yield from _compared(look, olds[name], news[name], _inside(where, name))


def _positions(look: _Look, old: list[dict[str, Any]], new: list[dict[str, Any]], where: str) -> Iterator[str]:
    if len(old) != len(new):
        yield f"{where} has {len(new)} members, it had {len(old)}"
        return
    for number, (before, after) in enumerate(zip(old, new, strict=True)):
        yield from _compared(look, before, after, f"member {number} of {where}")


def _inside(where: str, name: str) -> str:
    return name if where == "it" else f"{where}.{name}"


def _choices(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return schema.get("anyOf") or schema.get("oneOf") or [schema]


def _told(schema: dict[str, Any]) -> str:
    kind = schema.get("type") or ("a choice" if _choices(schema) != [schema] else "anything")
    return f"{kind} {schema['title']}" if kind == "object" and "title" in schema else str(kind)


def _same(old: Any, new: Any) -> bool:
    return _bare(old) == _bare(new)


def _bare(schema: Any) -> Any:
    """Return the schema without what only people read."""
    if isinstance(schema, list):
        return [_bare(each) for each in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    found = cast("dict[str, Any]", schema)
    bare = {name: _bare(value) for name, value in found.items() if name not in _WORDS and name != "properties"}
    if "properties" in found:  # where `title` is the name of a field
        bare["properties"] = {name: _bare(value) for name, value in found["properties"].items()}
    return bare


def _inlined(schema: Any, root: dict[str, Any], inside: tuple[str, ...] = ()) -> Any:
    """Put definitions in place of references; a type inside itself is left as a reference."""
    if isinstance(schema, list):
        return [_inlined(each, root, inside) for each in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    found = cast("dict[str, Any]", schema)
    reference = found.get("$ref")
    if isinstance(reference, str):
        name = reference.rpartition("/")[2]
        if name in inside:
            return found
        return _inlined(root["$defs"][name], root, (*inside, name))
    root = found if "$defs" in found else root
    return {name: _inlined(value, root, inside) for name, value in found.items() if name != "$defs"}
