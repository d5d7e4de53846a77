"""The README does what it says."""

import json
import re
import shutil
import socket
from pathlib import Path

import pytest
from tutorial_page import Block, Reader

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
HELLO = ROOT / "examples" / "hello"

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="the README uses curl")


def shell_block(containing: str) -> str:
    """Return the one block of commands that holds a text, with programs found on the path."""
    (found,) = [text for text in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) if containing in text]
    return found.replace(".venv/bin/", "")


@pytest.fixture
def reader(tmp_path: Path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with Reader(tmp_path, port) as reader:
        yield reader


def test_the_first_page_of_code_is_the_example_that_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert code == (HELLO / "hello.py").read_text(encoding="utf-8")


@needs_curl
@pytest.mark.real_time
def test_hello_starts_and_greets_as_the_readme_says(reader: Reader) -> None:
    shutil.copytree(HELLO, reader.folder / "examples" / "hello", ignore=shutil.ignore_patterns("__pycache__"))
    up, greet = shell_block("examples.hello.hello:hello").strip().split("\n", 1)
    reader.follow(Block("server", up))
    for _ in range(2):
        reader.follow(Block("run", greet))
        assert reader.printed == '"Hello, Ann!"'
    reader.follow(Block("run", "curl -s localhost:8080/api/v1/greetings/Ann"))
    assert reader.printed == "1"
    reader.follow(Block("stop", ""))


@needs_curl
@pytest.mark.real_time
def test_something_is_bought_as_the_readme_says(reader: Reader) -> None:
    reader.follow(Block("server", "archstone up shop"))
    reader.follow(Block("script", shell_block("api=http") + '\necho "token=$token"'))
    (order_id,) = re.findall(r'\{"id":"(\w+)","status":"pending"\}', reader.printed)
    (token,) = re.findall(r"token=(\S+)", reader.printed)
    reader.follow(Block("run", f"curl -s localhost:8080/api/v1/orders/{order_id} -H 'authorization: Bearer {token}'"))
    assert json.loads(reader.printed)["status"] == "confirmed"
    reader.follow(Block("run", shell_block("trace shop").replace("ID", order_id)))
    assert "saga checkout" in reader.printed
    reader.follow(Block("stop", ""))


@needs_curl
@pytest.mark.real_time
def test_an_order_survives_the_kill_as_the_readme_says(reader: Reader) -> None:
    reader.follow(Block("server", "archstone up shop"))
    reader.follow(Block("script", shell_block("api=http") + shell_block("kill -9") + 'sleep 0.2; echo "token=$token"'))
    _, order_id = re.findall(r'\{"id":"(\w+)","status":"pending"\}', reader.printed)
    (token,) = re.findall(r"token=(\S+)", reader.printed)
    reader.follow(Block("server", "archstone up shop"))
    ask = f"curl -s 'localhost:8080/api/v1/orders/{order_id}?wait_s=10' -H 'authorization: Bearer {token}'"
    reader.follow(Block("run", ask))
    assert json.loads(reader.printed)["status"] == "confirmed"
    reader.follow(Block("stop", ""))


@pytest.mark.parametrize("page", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs"])
def test_every_link_within_the_repository_leads_somewhere(page: str) -> None:
    pages = sorted((ROOT / page).rglob("*.md")) if page == "docs" else [ROOT / page]
    dead = [
        f"{file.relative_to(ROOT)}: {target}"
        for file in pages
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", file.read_text(encoding="utf-8"))
        if "://" not in target and not (file.parent / target).exists()
    ]
    assert dead == []
