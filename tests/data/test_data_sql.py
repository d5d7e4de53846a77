"""The reader of SQL text."""

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archstone.data import StatementError, compile_statement, split_script
from archstone.data import sql as sql_module
from archstone.data.sql import tokens

PIECES = st.lists(
    st.sampled_from(
        ["'", '"', "`", "[", "]", ":", "::", "a", ":b", "--", "\n", "/*", "*/", ";", " ", "$$", "$t$", "?", "1", "é"]
    ),
    max_size=30,
)


@given(PIECES)
def test_tokens_joined_are_the_text(pieces: list[str]):
    text = "".join(pieces)
    assert "".join(token.text for token in tokens(text)) == text


@given(st.text(max_size=60))
def test_tokens_never_fail(text: str):
    assert "".join(token.text for token in tokens(text)) == text


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30))
def test_what_stands_in_quotes_is_neither_parameter_nor_end(inside: str):
    quoted = "'" + inside.replace("'", "''") + "'"
    statement = compile_statement(f"SELECT {quoted}, :p")
    assert statement.names == ("p",)
    connection = sqlite3.connect(":memory:")
    assert connection.execute(statement.text, (7,)).fetchone() == (inside, 7)
    connection.close()


@given(st.dictionaries(st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True), st.integers(0, 99), min_size=1))
def test_parameters_are_bound_by_name_whatever_their_order(values: dict[str, int]):
    names = list(values)
    statement = compile_statement("SELECT " + ", ".join(f":{name}" for name in [*names, *reversed(names)]))
    bound = statement.bind(dict(reversed(values.items())))
    connection = sqlite3.connect(":memory:")
    expected = [values[name] for name in [*names, *reversed(names)]]
    assert list(connection.execute(statement.text, bound).fetchone()) == expected
    connection.close()


def test_casts_comments_and_quoted_names_are_left_alone():
    text = """SELECT a::text, ':b', ":c", [:d], `:e`, $$ :f $$, $x$ :g $x$ -- :h
    /* :i ; */ FROM t WHERE j = :j AND k = :k OR j = :j"""
    statement = compile_statement(text)
    assert statement.names == ("j", "k")
    assert statement.text == text.replace(":j", "?1").replace(":k", "?2")


def test_a_missing_and_an_unknown_parameter_are_named():
    statement = compile_statement("UPDATE t SET a = :a WHERE b = :b")
    with pytest.raises(StatementError) as caught:
        statement.bind({"a": 1, "c": 2})
    assert (
        str(caught.value) == "missing parameter :b; unknown parameter c=; statement: UPDATE t SET a = :a WHERE b = :b"
    )
    with pytest.raises(StatementError, match="unknown parameter c="):
        statement.bind({"a": 1, "b": 2, "c": 3})
    assert statement.bind({"b": 2, "a": 1}) == (1, 2)


def test_a_script_is_split_into_statements_and_triggers_stay_whole():
    script = """
    -- the tables
    CREATE TABLE a (b TEXT DEFAULT ';'); /* and ; a comment */
    CREATE TRIGGER t AFTER INSERT ON a BEGIN
        UPDATE a SET b = CASE WHEN b = 'x' THEN 'y' END;
        DELETE FROM a;
    END;
    CREATE TEMP TRIGGER u AFTER INSERT ON a BEGIN SELECT 1; END;
    ;
    INSERT INTO a VALUES ('last')
    -- the end
    """
    statements = split_script(script)
    assert len(statements) == 4
    assert statements[1].endswith("END")
    assert statements[2] == "CREATE TEMP TRIGGER u AFTER INSERT ON a BEGIN SELECT 1; END"
    connection = sqlite3.connect(":memory:")
    for statement in statements:
        connection.execute(statement)
    assert connection.execute("SELECT count(*) FROM a").fetchone() == (0,)
    connection.close()


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sql_module, "CACHE_LIMIT", 3)
    monkeypatch.setattr(sql_module, "_cache", {})
    for number in range(10):
        compile_statement(f"SELECT {number}")
        assert len(sql_module._cache) <= 3
    assert compile_statement("SELECT 9") is compile_statement("SELECT 9")


@pytest.mark.parametrize("text", ["SELECT a FROM t WHERE b OR fail", "SELECT commit FROM t", "SELECT 'x' AS rollback"])
def test_words_are_refused_only_where_they_mean_something(text: str):
    assert compile_statement(text).names == ()
