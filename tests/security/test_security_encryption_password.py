"""Keys from passwords: salt and parameters are kept, bounded, and bound to what they seal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archstone.errors import ConfigError
from archstone.security.encryption import Argon2, BrokenSealError, DerivationTextError, Scrypt, parse

CHEAP = Argon2(memory_kib=19_456, passes=1, lanes=1, salt=bytes(16))
CHEAP_SCRYPT = Scrypt(log_n=15, salt=bytes(16))


@pytest.mark.parametrize("kept", [CHEAP, CHEAP_SCRYPT])
def test_the_text_and_the_password_give_the_key_again(kept: Argon2 | Scrypt) -> None:
    again = parse(kept.text())
    assert again == kept
    assert again.derive("correct horse") == kept.derive("correct horse")
    assert kept.derive("correct horse") != kept.derive("wrong horse")


@pytest.mark.real_time
async def test_what_was_sealed_with_a_password_opens_with_it_alone() -> None:
    context = f"export {CHEAP.text()}"
    sealed = (await CHEAP.ring("correct horse")).seal(b"my data", context=context)
    assert (await parse(CHEAP.text()).ring("correct horse")).open(sealed, context=context) == b"my data"
    with pytest.raises(BrokenSealError):
        (await CHEAP.ring("wrong horse")).open(sealed, context=context)


def test_each_password_gets_a_salt_of_its_own() -> None:
    assert Argon2().salt != Argon2().salt
    assert len(Scrypt().salt) == 16


def test_one_accent_typed_in_two_ways_is_one_password() -> None:
    assert CHEAP.derive("caf\u00e9") == CHEAP.derive("cafe\u0301")


def test_the_texts_have_the_usual_form() -> None:
    assert CHEAP.text() == "$argon2id$v=19$m=19456,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA"
    assert CHEAP_SCRYPT.text() == "$scrypt$ln=15,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA"


@pytest.mark.parametrize(
    "settings",
    [
        {"memory_kib": 19_455}, {"memory_kib": 1_048_577}, {"passes": 0}, {"passes": 21}, {"lanes": 0}, {"lanes": 17},
        {"salt": bytes(15)}, {"salt": bytes(65)},
    ],
)  # fmt: skip
def test_parameters_of_argon2_are_bounded(settings: dict) -> None:
    with pytest.raises(ConfigError):
        Argon2(**settings)


@pytest.mark.parametrize(
    "settings",
    [{"log_n": 14}, {"log_n": 21}, {"r": 7}, {"r": 17}, {"p": 0}, {"p": 5}, {"salt": bytes(15)}, {"salt": bytes(65)}],
)
def test_parameters_of_scrypt_are_bounded(settings: dict) -> None:
    with pytest.raises(ConfigError):
        Scrypt(**settings)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "$argon2i$v=19$m=65536,t=3,p=4$AAAAAAAAAAAAAAAAAAAAAA",
        "$argon2id$v=16$m=65536,t=3,p=4$AAAAAAAAAAAAAAAAAAAAAA",
        "$argon2id$v=19$m=65536,t=3,p=4$AAAA",
        "$argon2id$v=19$m=65536,t=3,p=4$AAAAAAAAAAAAAAAAAAAAAA\n",
        "$argon2id$v=19$m=9999999,t=999,p=99$AAAAAAAAAAAAAAAAAAAAAA",
        "$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA",
        "$scrypt$ln=1,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA",
        "$scrypt$ln=99,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA",
        "$pbkdf2-sha256$i=100000$AAAAAAAAAAAAAAAAAAAAAA",
    ],
)
def test_texts_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(DerivationTextError):
        parse(text)


@given(
    st.text(max_size=120)
    | st.from_regex(r"\$argon2id\$v=19\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/=]*", fullmatch=True)
    | st.from_regex(r"\$scrypt\$ln=\d+,r=\d+,p=\d+\$[A-Za-z0-9+/=]*", fullmatch=True)
)
def test_whatever_is_parsed_is_taken_or_refused_by_name(text: str) -> None:
    try:
        kept = parse(text)
    except DerivationTextError:
        return
    assert parse(kept.text()) == kept
