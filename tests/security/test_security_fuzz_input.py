"""Whatever comes, what reads it answers with a value or with its own error, and what it promises holds."""

import contextlib
import gzip
import io
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archstone.data.lint import find_built_sql
from archstone.errors import ConfigError
from archstone.security.http import CsrfError, CsrfTokens, Origins, read_cookies
from archstone.security.input import (
    HtmlPolicy,
    InputError,
    check_zip,
    gunzipped,
    kind_of,
    made_anew,
    normal_email,
    safe_join,
    safe_name,
    text_only,
)
from archstone.security.outgoing import Allowed, OutgoingError, is_public, place_of

TEXT = st.text(max_size=300)
URLISH = st.lists(
    st.sampled_from(
        [
            "http",
            "https",
            "://",
            "//",
            "/",
            "\\",
            "@",
            ":",
            "[",
            "]",
            "::1",
            "127.0.0.1",
            "a.test",
            "%",
            "#",
            "?",
            "\r\n",
            "é",
            "\0",
            "80",
        ]
    ),
    max_size=12,
).map("".join)
HTMLISH = st.lists(
    st.sampled_from(
        [
            "<",
            ">",
            "</",
            "script",
            "svg",
            "a href=",
            "'",
            '"',
            "javascript:",
            "onerror=",
            "x",
            "<!--",
            "-->",
            "&lt;",
            "&#x3c;",
            "style",
            "math",
            " ",
        ]
    ),
    max_size=25,
).map("".join)
NAMEISH = st.lists(
    st.sampled_from(["..", ".", "/", "\\", "a", "\0", ":", "con", "é", "\u202e", " ", "\n", "~"]), max_size=10
).map("".join)
POST = HtmlPolicy()
FEW = settings(max_examples=150, deadline=None)


@given(st.one_of(TEXT, URLISH))
@FEW
def test_an_address_is_a_place_on_one_line_or_refused(url: str) -> None:
    try:
        place = place_of(url, Allowed())
    except OutgoingError:
        return
    line = f"GET {place.target} HTTP/1.1\r\nHost: {place.authority}"
    assert line.isascii()
    assert line.count("\n") == 1
    assert place.port in {80, 443}
    assert " " not in place.target


@given(st.one_of(TEXT, URLISH))
@FEW
def test_what_is_allowed_is_read_or_its_faults_are_told(text: str) -> None:
    with contextlib.suppress(ConfigError):
        Allowed.parse(text)
    is_public(text)


@given(st.one_of(TEXT, HTMLISH))
@FEW
def test_cleaned_html_stays_clean(text: str) -> None:
    once = POST.clean(text)
    assert POST.clean(once) == once
    low = once.lower()
    assert "<script" not in low
    assert "<svg" not in low
    plain = text_only(text)
    assert "<" not in plain
    assert ">" not in plain


@given(st.one_of(TEXT, NAMEISH))
@FEW
def test_a_joined_path_is_inside_and_a_name_is_one_word(text: str) -> None:
    root = Path(tempfile.gettempdir()) / "inside"
    try:
        found = safe_join(root, text)
    except InputError:
        pass
    else:
        assert found.is_relative_to(root.resolve())
        assert found != root.resolve()
    name = safe_name(text)
    assert safe_name(name) == name
    assert len(name.encode()) <= 204
    assert safe_join(root, name).parent == root.resolve()


@given(st.one_of(TEXT, st.emails()))
@FEW
def test_an_address_of_mail_is_stable_or_refused(text: str) -> None:
    try:
        found = normal_email(text)
    except InputError:
        return
    assert normal_email(found) == found
    assert "\n" not in found


@given(st.binary(max_size=400), st.binary(max_size=2_000), st.integers(0, 2_000))
@FEW
def test_archives_and_files_with_anything_in_them(junk: bytes, content: bytes, at: int) -> None:
    packed = bytearray(gzip.compress(content))
    packed[at % len(packed)] ^= 0x55
    for pieces in ([junk], [bytes(packed)], [bytes(packed[:at])], [junk, bytes(packed)]):
        try:
            for _ in gunzipped(pieces):
                pass
        except InputError:
            pass
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", content)
    broken = bytearray(out.getvalue())
    broken[at % len(broken)] ^= 0x55
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        for whole in (bytes(broken), junk, b"PK\x03\x04" + junk, b"%PDF-" + junk):
            path.write_bytes(whole)
            kind_of(path)
            with contextlib.suppress(InputError):
                check_zip(path)


@given(st.sampled_from(["image/png", "image/jpeg", "image/webp", "image/gif", "image/avif"]), st.binary(max_size=300))
@FEW
def test_a_picture_of_anything_is_told_and_never_crashes(kind: str, junk: bytes) -> None:
    begins = {
        "image/png": b"\x89PNG\r\n\x1a\n",
        "image/jpeg": b"\xff\xd8\xff\xe0",
        "image/webp": b"RIFF\0\0\0\0WEBPVP8 ",
        "image/gif": b"GIF89a",
        "image/avif": b"\0\0\0\x20ftypavif",
    }
    with pytest.raises(InputError):
        made_anew(begins[kind] + junk, kind)


@given(st.binary(max_size=300))
@FEW
def test_cookies_and_tokens_of_anything(junk: bytes) -> None:
    read_cookies([(b"cookie", junk), (b"cookie", b"a=1")], ["a", "b"], https=False)
    with pytest.raises(CsrfError):
        CsrfTokens(b"k" * 32).check(junk.decode("latin-1"), "s")
    with contextlib.suppress(ConfigError):
        Origins((junk.decode("latin-1"),))


@given(st.text(alphabet="fbr\"'{}\\nSELECT FROM x+%.format()=:#,\n ", max_size=120))
@FEW
def test_the_lint_reads_whatever_python_reads(source: str) -> None:
    with contextlib.suppress(SyntaxError, ValueError):
        find_built_sql(source)
