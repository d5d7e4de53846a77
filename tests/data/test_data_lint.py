"""The lint that finds SQL put together from strings: what it finds, what it lets pass, and our own tree."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from archstone.data.lint import find_built_sql, lint

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "source",
    [
        "db.execute(f\"SELECT * FROM users WHERE name = '{name}'\")",
        'db.execute("SELECT * FROM users WHERE name = \'" + name + "\'")',
        "db.execute(\"SELECT * FROM users WHERE name = '%s'\" % name)",
        "db.execute(\"SELECT * FROM users WHERE name = '{}'\".format(name))",
        'sql = f"DELETE FROM users WHERE id = {user_id}"',
        'sql = f"INSERT INTO {table} VALUES (1)"',
        "sql = f\"UPDATE users SET role = '{role}'\"",
        "query += f\" AND name = '{name}'\"",
        'query += " OR price < " + price',
        'query = f" WHERE id IN ({ids})"',
        'text(f"""\n  SELECT *\n  FROM users\n  ORDER BY {column}\n""")',
        'f"WITH found AS (SELECT 1) SELECT * FROM {table}"',
        'f"DROP TABLE {name}"',
        'f"PRAGMA {name}"',
        "f\"select * from users where name = '{name}'\"",
        'db.execute("delete from users where name = \'" f"{name}\'")',
        'sql = " ".join(["SELECT", name, "FROM users"])',
        'sql = ", ".join(("UPDATE t SET a = 1", column))',
        'def f(name):\n    return "SELECT 1 FROM t WHERE n = \'" + name.strip() + "\'"',
    ],
)
def test_attack_sql_put_together_from_values(source: str) -> None:
    (finding,) = find_built_sql(source, "a.py")
    assert str(finding).startswith("a.py:")
    assert "give values as :parameters" in str(finding)


def test_attack_sql_put_together_from_values_against_a_pattern() -> None:
    """Weak: a search for the usual spelling, `execute(f"...`, finds the usual spelling."""

    def by_pattern(source: str) -> bool:
        return re.search(r"execute\(f[\"']", source) is not None

    hidden = 'sql = f"DELETE FROM users WHERE id = {user_id}"\ndb.execute(sql)'
    assert (len(find_built_sql(hidden, "a.py")), by_pattern(hidden)) == (1, False)


@pytest.mark.parametrize(
    "source",
    [
        'db.execute("SELECT * FROM users WHERE name = :name", name=name)',
        'f"SELECT {_COLUMNS} FROM {self.TABLE} WHERE id = :id"',
        '"SELECT a FROM t" + " WHERE b = :b"',
        '"INSERT INTO t VALUES (%s)" % 5',
        "f\"DELETE FROM t WHERE id IN ({', '.join(f':id{n}' for n in range(3))})\"",
        'f"select one of {names} from the list"',
        'f"update {name}: failed"',
        'f"UPDATED {name}"',
        'log.info(f"order {order} AND more")',
        "f\"INSERT INTO {self.table('lines')} (sku) VALUES (:sku)\"",
        'sql = f"SELECT {columns} FROM t"  # sql: names of our own',
        'sql = f"SELECT {columns} FROM t"  # noqa: S608 - constants',
        '# sql: chosen above\nsql = f"SELECT {columns} FROM t"',
        "f\"<a href='{url}'>\"",
    ],
)
def test_what_is_no_value_passes(source: str) -> None:
    assert find_built_sql(source) == []


def test_a_reason_must_be_given() -> None:
    for empty in ("# sql:", "# noqa: S608", "# nosec", "# SELECT"):
        assert find_built_sql(f'sql = f"SELECT {{columns}} FROM t"  {empty}')


def test_our_own_tree_has_none() -> None:
    assert [str(each) for each in lint([ROOT / "src", ROOT / "examples"])] == []


def test_from_the_command_line(tmp_path: Path) -> None:
    def run(*words: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "archstone.data.lint", *words], capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    (tmp_path / "good.py").write_text('db.execute("SELECT 1")\n')
    assert run(str(tmp_path)) == (0, "")
    (tmp_path / "bad.py").write_text('\ndb.execute(f"SELECT * FROM t WHERE a = {a}")\n')
    code, told = run(str(tmp_path))
    assert code == 1
    assert told.startswith(f"{tmp_path / 'bad.py'}:2: SQL is put together")
    (tmp_path / "bad.py").write_text("def")
    assert run(str(tmp_path))[0] == 2
    assert run(str(tmp_path / "nothing.py"))[0] == 2
