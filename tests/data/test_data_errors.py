"""Errors of data: they pickle, have a code of their own, and each code has a page."""

import pickle
from pathlib import Path

import pytest

from archstone import data
from archstone.data import errors
from archstone.errors import ArchstoneError

PAGES = Path(__file__).parents[2] / "docs" / "errors"
CLASSES = [getattr(errors, name) for name in errors.__all__ if name.endswith("Error")]
EXAMPLES = [
    errors.DiskFullError("x.db", "COMMIT", "disk full"),
    errors.BrokenMigrationError("0001_a.sql", "", "gone"),
    errors.NewerSchemaError("x.db", "data", 2, 1),
    errors.DatabaseInUseError("x.db", None, ""),
    errors.StatementError("SELECT", "wrong"),
    errors.TooManyWaitingError("x.db", 10, 10),
    errors.TransactionHeldError("x.db", 5.0, ""),
]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_error_has_a_code_and_a_page(cls: type[ArchstoneError]):
    assert cls.code.startswith("data.")
    assert [other for other in CLASSES if other.code == cls.code] == [cls]
    assert cls.code in (PAGES / f"{cls.code}.md").read_text()
    assert getattr(data, cls.__name__) is cls


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_errors_pickle(error: ArchstoneError):
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def test_texts_are_golden():
    assert [str(error) for error in EXAMPLES] == [
        "database x.db: disk full; statement: COMMIT; nothing was done, make room and retry",
        "migration 0001_a.sql: gone; nothing of it was applied",
        "database x.db: tables of 'data' have version 2, this release knows 1; run the later release",
        "database x.db is in use by an unknown process: one process writes a file; stop that one first",
        "wrong; statement: SELECT",
        "database x.db: 10 of at most 10 are waiting; try later",
        (
            "database x.db: transaction held open for more than 5 s and rolled back; last statement: none; await "
            "nothing slow inside a transaction"
        ),
    ]


def test_long_statements_are_cut_in_texts():
    assert errors.excerpt("SELECT\n   1") == "SELECT 1"
    assert errors.excerpt("x" * 200) == "x" * 200
    assert errors.excerpt("x" * 201) == "x" * 200 + "…"


def test_what_is_exported_is_there():
    assert data.__all__ == sorted(data.__all__, key=lambda name: (not name.isupper(), name[0].islower(), name))
    assert [name for name in data.__all__ if not hasattr(data, name)] == []
