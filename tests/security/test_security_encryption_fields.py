"""Sealed fields: rows, dataclasses, pydantic models, SQLAlchemy types; and finding them by a blind index."""

import dataclasses
import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from sqlalchemy import LargeBinary, create_engine, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from archstone.data import Database
from archstone.errors import ConfigError
from archstone.security.encryption import (
    BlindIndex,
    BrokenSealError,
    Encrypted,
    SealedColumn,
    SealRing,
    digits,
    folded,
    place,
)
from archstone.security.encryption.sqlalchemy import SealedText

ring = SealRing([bytes(32)])
phone = SealedColumn(str, "customers", "phone")


class Row(NamedTuple):
    id: str
    phone: Encrypted[str]
    ssn: Encrypted[str] | None = None


@dataclasses.dataclass(frozen=True)
class Record:
    id: str
    phone: Encrypted[str]
    ssn: Encrypted[str] | None


class Model(BaseModel):
    id: str
    phone: Encrypted[str]
    ssn: Encrypted[str] | None = None


@pytest.mark.parametrize("kind", [Row, Record, Model])
async def test_rows_hold_sealed_fields(tmp_path: Path, kind: type[Row | Record | Model]) -> None:
    async with Database(f"sqlite:///{tmp_path}/a.db") as db:
        await db.execute("CREATE TABLE customers (id TEXT, phone BLOB, ssn BLOB)")
        sealed = phone.seal("+44 20", row="7", ring=ring)
        await db.execute("INSERT INTO customers VALUES ('7', :phone, NULL)", phone=sealed)
        found = await db.one(kind, "SELECT * FROM customers")
        assert isinstance(found.phone, Encrypted)
        assert found.ssn is None
        assert phone.open(found.phone, row=found.id, ring=ring) == "+44 20"
        (alone,) = await db.all(tuple[str, Encrypted[str]], "SELECT id, phone FROM customers")
        assert isinstance(alone[1], Encrypted)


@pytest.mark.real_time
async def test_rows_of_postgresql_hold_sealed_fields(postgres_url: str) -> None:
    async with Database(postgres_url) as db:
        await db.execute("CREATE TABLE customers (id TEXT, phone BYTEA, ssn BYTEA)")
        sealed = phone.seal("+44 20", row="7", ring=ring)
        await db.execute("INSERT INTO customers VALUES ('7', :phone, NULL)", phone=sealed)
        found = await db.one(Row, "SELECT * FROM customers")
        assert phone.open(found.phone, row=found.id, ring=ring) == "+44 20"


def test_a_row_that_is_printed_or_logged_shows_nothing() -> None:
    row = Row("7", phone.seal("+44 20", row="7", ring=ring))
    told = f"{row} {row.phone} {row!r} {[row]}"
    assert f"Encrypted({len(row.phone)} bytes, key {ring.sealing})" in told
    assert "\\x" not in told
    assert "+44" not in told


def test_a_model_goes_through_json_as_it_is() -> None:
    model = Model(id="7", phone=phone.seal("+44 20", row="7", ring=ring))
    again = Model.model_validate_json(model.model_dump_json())
    assert again == model
    assert phone.open(again.phone, row="7", ring=ring) == "+44 20"
    assert Model.model_validate(json.loads(model.model_dump_json())) == model
    assert Model.model_validate(model.model_dump()) == model
    assert Model.model_json_schema()["properties"]["phone"]["type"] == "string"


@pytest.mark.parametrize("value", ["+44 20 7946 0000", "", "AAAA", b"in the clear", b"", 7, bytes(60)])
def test_a_value_in_the_clear_is_refused_by_a_model_and_not_repeated(value: object) -> None:
    with pytest.raises(ValidationError):
        Model.model_validate({"id": "7", "phone": value})


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (str, "ünï"), (int, -5), (float, 0.1), (bool, False), (bytes, b"abc"), (Decimal, Decimal("1.10")),
        (dt.date, dt.date(1990, 2, 28)), (tuple[str, int], ("a", 1)), (dict[str, str], {"street": "x"}),
    ],
)  # fmt: skip
def test_a_value_is_anything_that_json_can_say(kind: type, value: object) -> None:
    column = SealedColumn(kind, "customers", "about")
    assert column.open(column.seal(value, row="7", ring=ring), row="7", ring=ring) == value


@pytest.mark.parametrize(
    ("table", "column"), [("a.b", "c"), ("a", "b/c"), ("", "b"), ("a", ""), ("a b", "c"), ("1", "c")]
)
def test_names_that_could_be_taken_for_another_place_are_refused(table: str, column: str) -> None:
    with pytest.raises(ConfigError, match="must be a plain name"):
        SealedColumn(str, table, column)
    with pytest.raises(ConfigError):
        place(table, column, "7")


@given(st.tuples(st.sampled_from(["a", "ab", "b"]), st.sampled_from(["a", "ab", "b"]), st.text()),
       st.tuples(st.sampled_from(["a", "ab", "b"]), st.sampled_from(["a", "ab", "b"]), st.text()))  # fmt: skip
def test_two_places_are_never_one(one: tuple[str, str, str], two: tuple[str, str, str]) -> None:
    assert (place(*one) == place(*two)) == (one == two)


# The guide's user, sealed: ssn, credit card, phone, address.


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: Mapped[str] = mapped_column(primary_key=True)
    username: Mapped[str]
    ssn: Mapped[str | None] = mapped_column(SealedText("users.ssn", lambda: ring))
    credit_card: Mapped[str | None] = mapped_column(SealedText("users.credit_card", lambda: ring))
    _phone: Mapped[bytes | None] = mapped_column("phone", LargeBinary)

    @property
    def phone(self) -> str | None:
        return None if self._phone is None else users_phone.open(self._phone, row=self.id, ring=ring)

    @phone.setter
    def phone(self, value: str | None) -> None:
        self._phone = None if value is None else users_phone.seal(value, row=self.id, ring=ring)


users_phone = SealedColumn(str, "users", "phone")


@pytest.fixture
def session(tmp_path: Path):
    engine = create_engine(f"sqlite:///{tmp_path}/users.db")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        yield session
    engine.dispose()


def test_sqlalchemy_models_are_in_the_clear_in_the_program_and_sealed_in_the_file(session: Session) -> None:
    ann = User(id="7", username="ann", ssn="078-05-1120", credit_card=None)
    ann.phone = "+44 20"
    session.add(ann)
    session.commit()
    session.expire_all()
    found = session.scalars(select(User)).one()
    assert (found.ssn, found.credit_card, found.phone) == ("078-05-1120", None, "+44 20")
    ssn, card, number = session.execute(text("SELECT ssn, credit_card, phone FROM users")).one()
    assert b"078-05" not in ssn
    assert ring.open(ssn, context="users.ssn") == b"078-05-1120"
    assert card is None
    assert b"+44" not in number


def test_a_sealed_text_does_not_open_in_another_column(session: Session) -> None:
    session.add(User(id="7", username="ann", ssn="078-05-1120", credit_card="4111"))
    session.commit()
    session.execute(text("UPDATE users SET credit_card = ssn"))
    session.expire_all()
    with pytest.raises(BrokenSealError):
        session.scalars(select(User)).one()


def test_comparing_a_sealed_column_is_refused_and_null_is_not(session: Session) -> None:
    with pytest.raises(ConfigError, match="compare a BlindIndex mark instead"):
        select(User).where(User.ssn == "078-05-1120")
    assert session.scalars(select(User).where(User.ssn.is_(None))).all() == []


# The blind index


async def test_a_value_is_found_by_equality_without_opening_any(tmp_path: Path) -> None:
    emails = BlindIndex([bytes(32)], "customers.email")
    sealed = SealedColumn(str, "customers", "email")
    async with Database(f"sqlite:///{tmp_path}/a.db") as db:
        await db.execute("CREATE TABLE customers (id TEXT PRIMARY KEY, email BLOB, email_mark BLOB)")
        for row, address in enumerate(["ann@example.com", "bob@example.com"]):
            await db.execute(
                "INSERT INTO customers VALUES (:id, :email, :mark)",
                id=str(row), email=sealed.seal(address, row=str(row), ring=ring), mark=emails.mark(address),
            )  # fmt: skip
        (wanted,) = emails.marks(" BOB@Example.com ")
        assert await db.all(str, "SELECT id FROM customers WHERE email_mark = :mark", mark=wanted) == ["1"]


def test_columns_and_keys_have_marks_of_their_own() -> None:
    marks = {
        BlindIndex([key], column).mark("ann@example.com")
        for key in (bytes(32), bytes(range(32)))
        for column in ("customers.email", "staff.email")
    }
    assert len(marks) == 4


def test_a_mark_is_cut_to_its_bits_and_a_lookup_asks_for_each_key() -> None:
    old, new = BlindIndex([bytes(32)], "c", bits=16), BlindIndex([bytes(range(32)), bytes(32)], "c", bits=16)
    assert len(old.mark("a")) == 2
    assert new.marks("a") == (new.mark("a"), old.mark("a"))


@pytest.mark.parametrize("bits", [0, 8, 17, 264, -16])
def test_bits_are_checked(bits: int) -> None:
    with pytest.raises(ValueError, match="multiple of 8 in"):
        BlindIndex([bytes(32)], "c", bits=bits)


@pytest.mark.parametrize("keys", [[], [b"short"]])
def test_keys_of_an_index_are_checked(keys: list[bytes]) -> None:
    with pytest.raises(ValueError, match="at least one key of 32 bytes"):
        BlindIndex(keys, "c")


@pytest.mark.parametrize(
    ("one", "two"),
    [("Straße", "STRASSE"), ("e\u0301", "é"), ("\uff21nn", "ann"), (" ann ", "ann"), ("İ", "i̇")],
)  # fmt: skip
def test_texts_that_differ_in_how_they_are_written_are_one(one: str, two: str) -> None:
    assert folded(one) == folded(two)


@given(st.text())
def test_folding_twice_changes_nothing(text: str) -> None:
    assert folded(folded(text)) == folded(text)


@pytest.mark.parametrize(
    ("typed", "kept"),
    [("+44 (20) 7946-0000", "+442079460000"), ("4111 1111 1111 1111", "4111111111111111"), ("٠١٢", "012"), ("a", "")],
)
def test_numbers_are_compared_by_their_digits(typed: str, kept: str) -> None:
    assert digits(typed) == kept
