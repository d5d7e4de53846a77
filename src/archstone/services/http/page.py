"""The page `/docs`: every operation with its types, readable on a phone, without a line of script.

For: people who want to see what a system offers and try it with curl. Programs read `/openapi.json`.
"""

from base64 import b64encode
from collections.abc import Iterable, Mapping
from hashlib import sha256
from html import escape
from typing import Any, Final, cast

__all__ = ["POLICY", "page"]

_Json = Mapping[str, Any]

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #5b6470; --line: #d8dde3; --page: #fff; --box: #f5f7f9;
  --get: #0b6bcb; --act: #0a7d4f }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --soft: #9aa4b0; --line: #333a42; --page: #14171a;
  --box: #1c2024; --get: #6db3ff; --act: #5cc99a } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 60rem; padding: 1.5rem 1rem 4rem; background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif }
h1 { margin: 0 0 .25rem; font-size: 1.6rem }
h2 { margin: 2.5rem 0 .25rem; font-size: 1.2rem }
h3 { margin: .9rem 0 .1rem; font-size: .95rem }
p { margin: .25rem 0; white-space: pre-line }
.soft, th { color: var(--soft) }
a { color: var(--get) }
details { margin: .5rem 0; border: 1px solid var(--line); border-radius: .5rem; background: var(--box) }
summary { padding: .6rem .8rem; cursor: pointer; overflow-wrap: anywhere }
summary:focus-visible { outline: 2px solid var(--get) }
.in { padding: 0 .8rem .8rem }
b.m { display: inline-block; min-width: 4rem; color: var(--act) }
b.get { color: var(--get) }
code, pre { font: .875rem/1.45 ui-monospace, monospace }
pre { margin: .25rem 0; padding: .6rem; overflow-x: auto; background: var(--page); border: 1px solid var(--line);
  border-radius: .35rem }
table { width: 100%; border-collapse: collapse; font-size: .9rem; table-layout: fixed }
th, td { padding: .25rem .5rem .25rem 0; text-align: left; vertical-align: top; overflow-wrap: anywhere }
td:first-child, th:first-child { width: 30% }
"""
_HASH: Final = b64encode(sha256(_STYLE.encode()).digest()).decode()
POLICY: Final = f"default-src 'none'; style-src 'sha256-{_HASH}'; frame-ancestors 'none'; base-uri 'none'".encode()
"""The Content-Security-Policy of the page: its own style sheet, known by hash, and nothing else."""

_DEEPEST: Final = 12


def page(schema: _Json) -> str:
    """Return the page for an OpenAPI document, as HTML."""
    info = schema["info"]
    sections = "".join(_section(tag, schema) for tag in schema["tags"])
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style></head><body>"
        f'<header><h1>{escape(info["title"])}</h1><p class="soft">Version {escape(info["version"])}. '
        'For programs: <a href="openapi.json">openapi.json</a>. Errors are RFC 9457 problem documents.</p></header>'
        f"<main>{sections}</main></body></html>"
    )


def _section(tag: _Json, schema: _Json) -> str:
    rows = [
        _operation(method, path, operation, schema)
        for path, methods in cast("Mapping[str, _Json]", schema["paths"]).items()
        for method, operation in methods.items()
        if tag["name"] in operation["tags"]
    ]
    return f"<section><h2>{escape(tag['name'])}</h2><p>{escape(tag['description'])}</p>{''.join(rows)}</section>"


def _operation(method: str, path: str, operation: _Json, schema: _Json) -> str:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    parts = [
        f"<p>{escape(operation['description'])}</p>",
        f'<p class="soft">{"Bearer token needed." if "security" in operation else "Open to anyone."}</p>',
        _parameters(operation["parameters"], schema),
        "" if body is None else f"<h3>Body</h3><pre>{escape(_type(body, schema))}</pre>",
        "<h3>Answers</h3>",
        _answers(operation["responses"], schema),
    ]
    kind = "m get" if method == "get" else "m"
    return (
        f'<details id="{escape(operation["operationId"])}"><summary><b class="{kind}">{method.upper()}</b> '
        f'<code>{escape(path)}</code> <span class="soft">{escape(operation["summary"])}</span></summary>'
        f'<div class="in">{"".join(parts)}</div></details>'
    )


def _parameters(parameters: Iterable[_Json], schema: _Json) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(each['name'])}</code></td>"
        f"<td>{each['in']}{'' if each['required'] else ', optional'}</td>"
        f"<td><code>{escape(_type(each['schema'], schema))}</code></td></tr>"
        for each in parameters
    )
    return f"<h3>Parameters</h3><table><tr><th>Name<th>Where<th>Type</tr>{rows}</table>" if rows else ""


def _answers(responses: Mapping[str, _Json], schema: _Json) -> str:
    rows: list[str] = []
    for status, answer in responses.items():
        success = answer.get("content", {}).get("application/json")
        shown = "" if success is None else f"<pre>{escape(_type(success['schema'], schema))}</pre>"
        rows.append(f"<tr><td><code>{status}</code></td><td>{escape(answer['description'])}{shown}</td></tr>")
    return f"<table>{''.join(rows)}</table>"


def _type(schema: _Json, root: _Json, depth: int = 0) -> str:
    """Return a type in a short notation: `{sku: string, lines: [{quantity: integer}]}`, an indented line a field."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        # A type that holds itself is named instead of unfolded for ever.
        return name if depth > _DEEPEST else _type(root["components"]["schemas"][name], root, depth + 1)
    for kinds in (schema.get("anyOf"), schema.get("oneOf")):
        if kinds:
            return " | ".join(_type(kind, root, depth + 1) for kind in kinds)
    if "properties" in schema and depth <= _DEEPEST:
        return _object(schema, root, depth)
    if "prefixItems" in schema:
        return "[" + ", ".join(_type(item, root, depth + 1) for item in schema["prefixItems"]) + "]"
    if "items" in schema:
        return f"[{_type(schema['items'], root, depth)}]"
    return _plain(schema)


def _object(schema: _Json, root: _Json, depth: int) -> str:
    inner, outer = "  " * (depth + 1), "  " * depth
    required = schema.get("required", ())
    lines = [
        f"{inner}{name}{'' if name in required else '?'}: {_type(part, root, depth + 1)}"
        for name, part in schema["properties"].items()
    ]
    return "{\n" + "\n".join(lines) + f"\n{outer}}}"


def _plain(schema: _Json) -> str:
    if "const" in schema or "enum" in schema:
        return " | ".join(repr(value) for value in schema.get("enum", [schema.get("const")]))
    marks = [str(schema["format"])] if "format" in schema else []
    limits = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<", "maxLength": "length"}
    marks += [f"{sign} {schema[name]}" for name, sign in limits.items() if name in schema]
    kind = str(schema.get("type", "any"))
    return f"{kind} ({', '.join(marks)})" if marks else kind
