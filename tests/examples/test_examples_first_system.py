"""docs/first-system.md does what it says when it is followed from an empty folder."""

import shutil
import socket
from pathlib import Path

import pytest
from tutorial_page import Block, Reader, alike, blocks

ROOT = Path(__file__).parents[2]
PAGE = blocks((ROOT / "docs" / "first-system.md").read_text(encoding="utf-8"))
FILES = [block for block in PAGE if block.what.startswith("file: ")]


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("block", FILES, ids=[block.what for block in FILES])
def test_the_files_on_the_page_are_those_of_the_example(block: Block) -> None:
    assert block.text == (ROOT / "examples" / "hello" / block.what.removeprefix("file: ")).read_text(encoding="utf-8")


def test_the_page_shows_every_file_of_the_example() -> None:
    example = ROOT / "examples" / "hello"
    files = {str(file.relative_to(example)) for file in example.rglob("*") if file.suffix in {".py", ".sql"}}
    assert {block.what.removeprefix("file: ") for block in FILES} == files


def test_hello_is_under_forty_lines() -> None:
    assert len((ROOT / "examples" / "hello" / "hello.py").read_text(encoding="utf-8").splitlines()) < 40


@pytest.mark.slow
@pytest.mark.real_time
@pytest.mark.skipif(shutil.which("curl") is None, reason="the page uses curl")
def test_a_reader_who_follows_the_page_sees_what_it_says(tmp_path: Path, port: int) -> None:
    with Reader(tmp_path, port) as reader:
        for block in PAGE:
            reader.follow(block)
            if block.what.startswith("output"):
                unordered = block.what.endswith("in any order")
                assert alike(reader.printed, in_any_order=unordered) == alike(block.text, in_any_order=unordered)


def test_a_block_of_code_without_a_mark_is_refused() -> None:
    with pytest.raises(AssertionError, match="no mark"):
        blocks("text\n```sh\nls\n```\n")
