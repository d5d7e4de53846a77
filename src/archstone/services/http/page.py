"""The page `/docs`: every operation with its types, readable on a phone, without a line of script.

For: people who want to see what a system offers and try it with curl. Programs read `/openapi.json`.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from hashlib import sha256
from html import escape
from http import HTTPStatus
from typing import Any, Final, cast

from pydantic_core import to_json

__all__ = ["POLICY", "document", "page"]

_Json = Mapping[str, Any]

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #565f6a; --line: #d8dde3; --page: #fff; --box: #f5f7f9;
  --get: #0b62b8; --act: #0a6f46 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --soft: #a3acb7; --line: #333a42; --page: #14171a;
  --box: #1c2024; --get: #6db3ff; --act: #5cc99a } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 60rem; padding: 1.5rem 1rem 4rem; background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
h1 { margin: 0 0 .25rem; font-size: 1.6rem }
h2 { margin: 2.5rem 0 .25rem; font-size: 1.2rem; scroll-margin-top: 1rem }
h3 { margin: .9rem 0 .1rem; font-size: .95rem }
p { margin: .25rem 0; white-space: pre-line }
nav { display: flex; flex-wrap: wrap; gap: .15rem 1rem; margin-top: .75rem }
.soft, th { color: var(--soft) }
a { color: var(--get) }
details { margin: .5rem 0; border: 1px solid var(--line); border-radius: .5rem; background: var(--box) }
summary { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 .75rem; padding: .55rem .8rem; cursor: pointer;
  list-style: none }
summary::-webkit-details-marker { display: none }
summary::before { content: "\\25b8"; margin-right: -.35rem; color: var(--soft) }
details[open] > summary::before { content: "\\25be" }
summary:hover code { text-decoration: underline }
summary:focus-visible { outline: 2px solid var(--get); border-radius: .5rem }
summary .soft { flex: 1 1 20rem }
details[open] > summary { border-bottom: 1px solid var(--line) }
.in { padding: .5rem .8rem .8rem; scroll-margin-top: 4rem }
b.m { min-width: 4.2rem; color: var(--act); font-size: .875rem }
b.get { color: var(--get) }
code, pre { font: .875rem/1.45 ui-monospace, monospace }
pre { margin: .25rem 0; padding: .6rem; overflow-x: auto; background: var(--page); border: 1px solid var(--line);
  border-radius: .35rem; white-space: pre-wrap }
table { width: 100%; border-collapse: collapse; font-size: .9rem; table-layout: fixed }
th, td { padding: .25rem .75rem .25rem 0; text-align: left; vertical-align: top }
th:first-child { width: 34% }
.status td:first-child { width: 3.5rem }
.links td:first-child { width: 9rem }
@media (max-width: 34rem) { summary .soft { flex-basis: 100% } }
"""
_HASH: Final = b64encode(sha256(_STYLE.encode()).digest()).decode()
POLICY: Final = f"default-src 'none'; style-src 'sha256-{_HASH}'; frame-ancestors 'none'; base-uri 'none'".encode()
"""The Content-Security-Policy of the page: its own style sheet, known by hash, and nothing else."""

_DEEPEST: Final = 12
_CODE: Final = re.compile("`([^`\n]+)`")


def document(title: str, body: str) -> str:
    """Return a page in this style, as HTML.

    Args:
        title: Plain text.
        body: HTML.
    """
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>{body}</body></html>"
    )


def page(schema: _Json) -> str:
    """Return the page for an OpenAPI document, as HTML."""
    info = schema["info"]
    tags = cast("list[_Json]", schema["tags"])
    links = "".join(f'<a href="#{escape(tag["name"])}">{escape(tag["name"])}</a>' for tag in tags)
    return document(
        info["title"],
        f'<header><h1>{escape(info["title"])}</h1><p class="soft">Version {escape(info["version"])}. '
        f'For programs: <a href="openapi.json">openapi.json</a>.</p><nav>{links}</nav></header>'
        f"<main>{''.join(_section(tag, schema) for tag in tags)}{_refusals(schema)}</main>",
    )


def _section(tag: _Json, schema: _Json) -> str:
    rows = [
        _operation(method, path, operation, schema)
        for path, methods in cast("Mapping[str, _Json]", schema["paths"]).items()
        for method, operation in methods.items()
        if tag["name"] in operation["tags"]
    ]
    name = escape(tag["name"])
    return f'<section><h2 id="{name}">{name}</h2><p>{_prose(tag["description"])}</p>{"".join(rows)}</section>'


def _operation(method: str, path: str, operation: _Json, schema: _Json) -> str:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    # The summary begins the description: it is not said twice.
    more = str(operation["description"]).removeprefix(operation["summary"]).strip()
    parts = [
        f"<p>{_prose(more)}</p>" if more else "",
        f'<p class="soft">{"Bearer token needed." if "security" in operation else "Open to anyone."}</p>',
        _parameters(operation["parameters"], schema),
        "" if body is None else f"<h3>Body</h3><pre>{escape(_type(body, schema))}</pre>",
        "<h3>Answers</h3>",
        _answers(operation["responses"], schema),
    ]
    kind = "m get" if method == "get" else "m"
    # A link to what is inside opens the box; a link to the box itself would leave it closed.
    return (
        f'<details><summary><b class="{kind}">{method.upper()}</b>'
        f'<code>{escape(path)}</code><span class="soft">{_prose(operation["summary"])}</span></summary>'
        f'<div class="in" id="{escape(operation["operationId"])}">{"".join(parts)}</div></details>'
    )


def _parameters(parameters: Iterable[_Json], schema: _Json) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(each['name'])}</code><br>"
        f'<span class="soft">{each["in"]}{"" if each["required"] else ", optional"}</span></td>'
        f"<td><code>{escape(_type(each['schema'], schema))}</code>"
        f"{_told(each)}</td></tr>"
        for each in parameters
    )
    return f"<h3>Parameters</h3><table><tr><th>Name</th><th>Type</th></tr>{rows}</table>" if rows else ""


def _told(parameter: _Json) -> str:
    told = parameter.get("description")
    return f'<br><span class="soft">{_prose(told)}</span>' if told else ""


def _answers(responses: Mapping[str, _Json], schema: _Json) -> str:
    """Return what this operation says; what every operation may say stands once, at the end of the page."""
    rows: list[str] = []
    general: list[str] = []
    for status, answer in responses.items():
        success = answer.get("content", {}).get("application/json")
        if int(status) >= 400 and answer["description"] == _phrase(status):
            general.append(f"<code>{status}</code>")
            continue
        shown = "" if success is None else f"<pre>{escape(_type(success['schema'], schema))}</pre>"
        rows.append(f"<tr><td><code>{status}</code></td><td>{_prose(answer['description'])}{shown}</td></tr>")
    also = f'<p class="soft">Like others: {", ".join(general)}. <a href="#refusals">What they mean</a></p>'
    return f'<table class="status">{"".join(rows)}</table>{also if general else ""}'


def _refusals(schema: _Json) -> str:
    paths = cast("Mapping[str, Mapping[str, _Json]]", schema["paths"])
    found = {status for methods in paths.values() for each in methods.values() for status in each["responses"]}
    rows = [
        f"<tr><td><code>{status}</code></td><td>{escape(_MEANINGS.get(status, _phrase(status)))}</td></tr>"
        for status in sorted(found)
        if status in _MEANINGS
    ]
    return (
        '<section><h2 id="refusals">Refusals</h2><p>Whatever is not a success is a problem document (RFC 9457): '
        "<code>type</code> names the error, <code>detail</code> says what to do about it, <code>instance</code> is the "
        f'id of the request.</p><table class="status">{"".join(rows)}</table></section>'
    )


_MEANINGS: Final[Mapping[str, str]] = {
    "400": "Path, query string, header or body is not what the operation takes; errors lists every fault.",
    "401": "Nobody is signed in, or the token is not valid any more.",
    "403": "Whoever is signed in may not do this.",
    "408": "The body did not arrive in time: nothing was done, send it again.",
    "409": "The same command is still running, or what is there does not allow it: ask again later with the same key.",
    "413": "The body is too long.",
    "415": "The body is not declared as JSON.",
    "422": "The idempotency key was used before, with other arguments.",
    "429": "Too many requests: Retry-After says when the next one is taken.",
    "431": "The headers are too long.",
    "500": "A failure inside. It may have taken effect: try again with the same key, and quote the instance.",
    "503": "Too busy, or a part is down: nothing was done, Retry-After says when to try again.",
    "504": "It took too long. It may have taken effect: try again with the same key.",
}


def _phrase(status: str) -> str:
    return HTTPStatus(int(status)).phrase


def _prose(text: str) -> str:
    """Return text as HTML, with what stands between backticks as code."""
    return _CODE.sub(r"<code>\1</code>", escape(text))


def _type(schema: _Json, root: _Json, depth: int = 0, indent: int = 0) -> str:
    """Return a type in a short notation: `{sku: string, lines: [{quantity: integer}]}`, an indented line a field."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        # A type that holds itself is named instead of unfolded for ever.
        return name if depth > _DEEPEST else _type(root["components"]["schemas"][name], root, depth + 1, indent)
    for kinds in (schema.get("anyOf"), schema.get("oneOf")):
        if kinds:
            return " | ".join(_type(kind, root, depth + 1, indent) for kind in kinds)
    if "properties" in schema and depth <= _DEEPEST:
        return _object(schema, root, depth, indent)
    if "prefixItems" in schema:
        return "[" + ", ".join(_type(item, root, depth + 1, indent) for item in schema["prefixItems"]) + "]"
    if "items" in schema:
        bounds = _bounds(schema, "Items")
        return f"[{_type(schema['items'], root, depth + 1, indent)}]{f' ({bounds})' if bounds else ''}"
    return _plain(schema)


def _object(schema: _Json, root: _Json, depth: int, indent: int) -> str:
    inner, outer = "  " * (indent + 1), "  " * indent
    required = schema.get("required", ())
    lines = [
        f"{inner}{name}{'' if name in required else '?'}: {_type(part, root, depth + 1, indent + 1)}{_default(part)}"
        for name, part in schema["properties"].items()
    ]
    return "{\n" + "\n".join(lines) + f"\n{outer}}}"


def _plain(schema: _Json) -> str:
    if "const" in schema or "enum" in schema:
        return " | ".join(_json(value) for value in schema.get("enum", [schema.get("const")]))
    marks = [str(schema["format"])] if "format" in schema else []
    limits = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    marks += [f"{sign} {schema[name]}" for name, sign in limits.items() if name in schema]
    if bounds := _bounds(schema, "Length"):
        marks.append(f"{bounds} chars")
    kind = str(schema.get("type", "any"))
    return f"{kind} ({', '.join(marks)})" if marks else kind


def _bounds(schema: _Json, what: str) -> str:
    """Return how many characters or items there may be; nothing if as many as one likes."""
    least, most = schema.get(f"min{what}"), schema.get(f"max{what}")
    if least is None:
        return "" if most is None else f"at most {most}"
    return f"at least {least}" if most is None else f"{least} to {most}"


def _default(schema: _Json) -> str:
    default = schema.get("default")
    return "" if default is None or default == [] or "const" in schema else f" = {_json(default)}"


def _json(value: object) -> str:
    return to_json(value).decode()
