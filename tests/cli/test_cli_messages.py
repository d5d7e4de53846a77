"""Every mistake at the command line is one line that says what to do next, exit code 2, and never a traceback."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from archstone import cli
from archstone.cli import show, verbs
from archstone.runtime import load_settings
from archstone.systems.shop.system import shop

HERE = "{here}"


def run(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["archstone", *words])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as ended:
        cli.main()
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with everything that one can get wrong in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "broken_module.py").write_text("import math\n\n1 / 0\n")
    (tmp_path / "wrong_name.py").write_text("from archstone.services import System\nmine = Sytem('mine')\n")
    (tmp_path / "leaves.py").write_text("raise SystemExit(7)\n")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "inner.py").write_text("import parts.nothing_there\n")
    (tmp_path / "parts" / "deep.py").write_text("import broken_module\n")
    (tmp_path / "mine.py").write_text("from archstone.systems.shop.system import shop as corner_shop\n")
    (tmp_path / "wrong_syntax.py").write_text("def\n")
    (tmp_path / "needs_more.py").write_text("import no_such_library\n")
    (tmp_path / "no_system.py").write_text("shop = 7\n")
    (tmp_path / "file").write_text("text")
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "thesis.txt").touch()
    (tmp_path / "trusted.toml").write_text('plaintext = "anywhere"\n')
    (tmp_path / "bad.toml").write_text("port = = 1\n")
    (tmp_path / "wrong.toml").write_text('port = "x"\ncolour = 1\n')
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "format.json").write_text('{"format": 1, "system": "bank"}')
    (tmp_path / "newer").mkdir()
    (tmp_path / "newer" / "format.json").write_text('{"format": 99, "system": "shop"}')
    return tmp_path


MISTAKES = {
    "up nowhere": "no system 'nowhere': exchange and shop come with Archstone; your own is package.module:attribute",
    "up shopp": "no system 'shopp': did you mean shop?",
    "up no_such_module:shop": "there is no module no_such_module; name `shop`, `exchange` or package.module:attribute, "
    "from the",
    "up parts.nowhere:shop": "there is no module parts.nowhere; name `shop`, `exchange` or package.module:attribute, "
    "from the",
    "up no_system:bank": "module no_system has no 'bank'; there is no System in it: make one, such as mine =",
    "up no_system:shop": "no_system:shop is a int, not a System; there is no System in it: make one",
    "up no_system": "system 'no_system' is a module; there is no System in it: make one",
    "up mine": "system 'mine' is a module; write mine:corner_shop",
    "up mine:shop": "no system 'mine:shop': module mine has no 'shop'; write mine:corner_shop",
    "up mine.py": "system 'mine.py' is a path; write mine:corner_shop",
    "up ./mine.py:corner_shop": "system './mine.py:corner_shop' is a path; write mine:corner_shop",
    "up parts/other.py": "is a path: write parts.other:attribute, with dots and without .py",
    "up /mine.py": "system '/mine.py' is a path: go to its folder, and write module:attribute without .py",
    "up broken_module:shop": "'broken_module:shop': broken_module.py line 3: ZeroDivisionError: division by zero; mend",
    "up parts.deep:shop": "broken_module.py line 3: ZeroDivisionError: division by zero; mend it, ARCHSTONE",
    "up wrong_name:mine": "wrong_name.py line 2: NameError: name 'Sytem' is not defined; mend it",
    "up wrong_syntax:shop": "wrong_syntax.py line 1: SyntaxError: invalid syntax; mend it",
    "up leaves:shop": "leaves.py line 1: SystemExit: 7; mend it",
    "up needs_more:shop": "needs_more.py line 1 imports no_such_library, which is not installed: install the package",
    "up needs_more": "needs_more.py line 1 imports no_such_library, which is not installed: install the package",
    "up parts.inner:shop": "inner.py line 1 imports parts.nothing_there, which is not there: mend the import",
    "up :shop": "no system ':shop': name `shop`, `exchange` or package.module:attribute",
    "up mine:": "no system 'mine:': name `shop`, `exchange` or package.module:attribute",
    "up parts": "system 'parts' is a module; it is a package: name a module of it, deep, inner, as parts.deep:",
    "shop": "shop is a system: write a verb before it, such as archstone up shop",
    "mine:corner_shop": "mine:corner_shop is a system: write a verb before it, such as archstone up mine:corner_shop",
    "up a:b:": "no system 'a:b:': name `shop`, `exchange` or package.module:attribute",
    "up a-b:c": "no system 'a-b:c': name `shop`, `exchange` or package.module:attribute",
    "up shop --port 99999": "port='99999' (from flag): Input should be less than or equal to 65535",
    "up shop --host 1.2.3.4": "host (from flag): http would be spoken beyond this machine: give tls_cert and tls_key",
    "up shop --host 1.2.3.4 --config trusted.toml": "cannot listen on 1.2.3.4:8080",
    "up shop --set parcel=fast": "option parcel='fast' (from flag): there is no such option, did you mean parcels;",
    "up shop --set nothing": "--set nothing: write NAME=VALUE",
    "up shop --config no.toml": "configuration file no.toml: No such file or directory; name one that can be read",
    "up shop --config bad.toml": "configuration file bad.toml is not TOML",
    "up shop --config wrong.toml": "colour='1' (from wrong.toml): there is no such setting",
    "up shop --port 0 --data file": "data folder file cannot be used: File exists; name another with --data",
    "up shop --port 0 --data file/below": "data folder file/below cannot be used: Not a directory; name another",
    "up shop --port 0 --data documents": "it is no data folder (it has 'thesis.txt' and no format.json), so it is left",
    "up shop --port 0 --data documents --fresh": "it is no data folder (it has 'thesis.txt' and no format.json)",
    "up shop --port 0 --data other": "it belongs to system 'bank', not 'shop'; name another folder with --data",
    "up shop --port 0 --data newer": "its format is 99, this release reads up to 1: take a newer release",
    "up shop --port 0 --set parcels=quick": "option parcels='quick' (from flag): take one of slow, fast",
    "up shop --port 0 --set payments=gold": "no payment provider 'gold'",
    "up shop --port 0 --set mailer=ftp://x": "options.mailer (from flag): ftp:// is not encrypted: use the scheme with",
    "up shop --port 0 --set mailer=ftp://127.0.0.1": "mailer: the URL must be smtps://host[:port], smtp+starttls",
    "config nowhere": "no system 'nowhere'",
    "config shop --config wrong.toml": "port='x' (from wrong.toml)",
    "admin shop ann@example.org": "no data of system 'shop' at .archstone/shop: name its folder with --data, or start",
    "trace shop x": "no data of system 'shop' at .archstone/shop",
    "sagas shop": "no data of system 'shop' at .archstone/shop",
    "sagas shop resume": "name the sagas that are to go on, or say --all; `archstone sagas shop list",
    "sagas shop cancel x --all": "name the sagas or say --all, not both",
    "sagas shop list --older soon": "--older soon: write a number and s, m, h or d, such as 2h",
    "sagas shop signal x paid five": "five: not JSON; a text is written",
    "forget shop group": "no data of system 'shop' at .archstone/shop",
    "dead shop": "no data of system 'shop' at .archstone/shop",
    "dead shop --data file": "no data of system 'shop' at file",
    "dead shop --data documents": "no data of system 'shop' at documents",
    "dead shop --data other": "it belongs to system 'bank', not 'shop'",
    "backup shop x.tgz": "no data of system 'shop' at .archstone/shop",
    "restore shop no.tgz": "there is no file no.tgz: name one that `archstone backup` wrote",
    "restore shop file": "file is not a backup that can be read (not a gzip file): name another file",
    "restore shop documents": "documents is not a backup that can be read",
    "restore shop file --data documents": "data folder documents is not empty: name another with --data",
    "restore shop file --data documents --fresh": "it is no data folder",
    "restore shop file --data file": "cannot be written",
}


VERBS = ("up", "admin", "trace", "sagas", "dead", "forget", "config", "backup", "restore")


@pytest.mark.parametrize(("line", "told"), MISTAKES.items(), ids=MISTAKES)
def test_a_mistake_is_one_line_that_says_what_to_do(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str, told: str
) -> None:
    code, out, err = run(tuple(line.split()), monkeypatch, capsys)
    assert (code, out) == (2, ""), err
    assert told in err
    assert err.startswith("archstone: ")
    assert len(err.strip().splitlines()) == 1, err
    assert (here / "documents" / "thesis.txt").exists()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("up", "Missing argument"),
        ("nonsense", "No such command 'nonsense'"),
        ("up shop --port eighty", "--port"),
        ("up shop --nonsense", "No such option"),
        ("trace shop", "Missing argument"),
        ("sagas shop --limit 0", "--limit"),
        ("sagas shop fork x --as y", "--from"),
        ("sagas shop signal x", "Missing argument"),
        ("dead shop --limit 100000", "--limit"),
        ("backup shop", "Missing argument"),
        ("config", "Missing argument"),
    ],
)
def test_wrong_usage_is_told_in_a_few_words(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str, told: str
) -> None:
    code, out, err = run(tuple(line.split()), monkeypatch, capsys)
    assert (code, out) == (2, "")
    assert told.lower() in err.lower()
    assert "Traceback" not in err


def test_the_verbs_are_listed_where_none_is_given(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, err = run(("--help",), monkeypatch, capsys)
    assert err == ""
    for verb in VERBS:
        assert f" {verb} " in out


def test_the_configuration_is_printed_with_sources_and_without_secrets(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ARCHSTONE_PORT", "9000")
    words = ("config", "shop", "--set", "mailer=smtps://ann:hunter2@mail.example", "--set", "payments_token=hunter2")
    code, out, err = run(words, monkeypatch, capsys)
    assert (code, err) == (0, "")
    rows = {line.split()[0]: line.split()[1:3] for line in out.splitlines() if len(line.split()) > 2}
    assert rows["port"] == ["9000", "ARCHSTONE_PORT"]
    assert rows["host"] == ["127.0.0.1", "default"]
    assert rows["options.parcels"] == ["slow", "default"]
    assert rows["options.mailer"] == ["smtps://***@mail.example", "flag"]
    assert rows["options.payments_token"] == ["***", "flag"]
    assert "hunter2" not in out


def test_a_bug_is_one_line_too_and_a_switch_shows_where(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(name: str) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(verbs, "find_system", broken)
    code, out, err = run(("config", "shop"), monkeypatch, capsys)
    assert (code, out) == (2, "")
    assert "unforeseen ZeroDivisionError: division by zero; please report it, ARCHSTONE_TRACEBACK=1 shows" in err
    monkeypatch.setenv("ARCHSTONE_TRACEBACK", "1")
    monkeypatch.setattr(sys, "argv", ["archstone", "config", "shop"])
    with pytest.raises(ZeroDivisionError):
        cli.main()


def test_a_system_of_ones_own_is_found_in_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from archstone.systems.shop.users.service import UsersService\n"
        "from archstone.systems.shop.system import shop\n"
        "mine = shop\n"
    )
    command = [str(Path(sys.executable).with_name("archstone")), "config", "mine:mine"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False, env={**os.environ}
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("missing", ["typer", "rich", "uvicorn", "uvloop"])
def test_without_its_libraries_the_command_line_says_what_to_install(missing: str) -> None:
    program = f"import sys; sys.modules[{missing!r}] = None; from archstone.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    told = "archstone: the command line needs more than the blocks: pip install 'archstone[systems]'"
    assert done.stderr.strip() == told


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_teaches_with_an_example(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    code, out, err = run((verb, "--help"), monkeypatch, capsys)
    assert (code, err) == (0, "")
    assert f"Usage: archstone {verb} [OPTIONS] {{SYSTEM}}" in out
    assert f" archstone {verb} shop" in out


@pytest.mark.parametrize("command", [["-m", "archstone"], ["-m", "archstone.cli"]])
def test_the_version_is_told_and_the_module_can_be_run(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, *command, "--version"], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"archstone {version('archstone')}\n", "")


def test_a_table_is_whole_in_a_pipe_however_narrow_the_terminal_was(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["archstone", "config", "shop"])
    monkeypatch.setenv("COLUMNS", "20")
    with pytest.raises(SystemExit):
        cli.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(load_settings(system=shop, environ={}).rows())
    assert "Longest time for a request, seconds; none: the gateway's own." in "\n".join(lines)
    assert [line for line in lines if line != line.rstrip()] == []


def test_settings_are_printed_as_json_for_programs(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(("config", "shop", "--json", "--set", "parcels=fast"), monkeypatch, capsys)
    rows = {row["name"]: row for row in json.loads(out)["settings"]}
    assert code == 0
    assert (rows["options.parcels"]["value"], rows["options.parcels"]["source"]) == ("fast", "flag")
    assert rows["port"]["value"] == "8080"


def test_what_could_steer_a_terminal_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    show.print_table(["id", "error"], [{"id": 1, "error": "a\x1b[2Jb\nc"}, {"id": 22, "error": None}])
    assert capsys.readouterr().out == "id  error\n1   a [2Jb c\n22\n"
