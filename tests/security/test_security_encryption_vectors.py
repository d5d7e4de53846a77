"""The vectors of NIST and of the RFCs against what seals, derives and stretches here."""

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from archstone import world
from archstone.security.encryption import SealRing, ring

# NIST CAVP, gcmEncryptExtIV256.rsp: key, nonce, plaintext, associated data, ciphertext, tag; sections of six lengths.
GCM = [
    ("b52c505a37d78eda5dd34f20c22540ea1b58963cf8e5bf8ffa85f9f2492505b4", "516c33929df5a3284ff463d7", "", "", "",
     "bdc1ac884d332457a1d2664f168c76f0"),
    ("5fe0861cdc2690ce69b3658c7f26f8458eec1c9243c5ba0845305d897e96ca0f", "770ac1a5a3d476d5d96944a1", "", "", "",
     "196d691e1047093ca4b3d2ef4baba216"),
    ("78dc4e0aaf52d935c3c01eea57428f00ca1fd475f5da86a49c8dd73d68c8e223", "d79cf22d504cc793c3fb6c8a", "",
     "b96baa8c1c75a671bfb2d08d06be5f36", "", "3e5d486aa2e30b22e040b85723a06e76"),
    ("31bdadd96698c204aa9ce1448ea94ae1fb4a9a0b3c9d773b51bb1822666b8f22", "0d18e06c7c725ac9e362e1ce",
     "2db5168e932556f8089a0622981d017d", "", "fa4362189661d163fcd6a56d8bf0405a", "d636ac1bbedd5cc3ee727dc2ab4a9489"),
    ("460fc864972261c2560e1eb88761ff1c992b982497bd2ac36c04071cbb8e5d99", "8a4a16b9e210eb68bcb6f58d",
     "99e4e926ffe927f691893fb79a96b067", "", "133fc15751621b5f325c7ff71ce08324", "ec4e87e0cf74a13618d0b68636ba9fa7"),
    ("24501ad384e473963d476edcfe08205237acfd49b5b8f33857f8114e863fec7f", "9ff18563b978ec281b3f2794",
     "27f348f9cdc0c5bd5e66b1ccb63ad920ff2219d14e8d631b3872265cf117ee86757accb158bd9abb3868fdc0d0b074b5f01b2c",
     "adb5ec720ccf9898500028bf34afccbcaca126ef",
     "eb7cb754c824e8d96f7c6d9b76c7d26fb874ffbf1d65c6f64a698d839b0b06145dae82057ad55994cf59ad7f67c0fa5e85fab8",
     "bc95c532fecc594c36d1550286a7a3f0"),
    ("82c4f12eeec3b2d3d157b0f992d292b237478d2cecc1d5f161389b97f999057a", "7b40b20f5f397177990ef2d1",
     "982a296ee1cd7086afad976945", "", "ec8e05a0471d6b43a59ca5335f", "113ddeafc62373cac2f5951bb9165249"),
]  # fmt: skip

# RFC 5869, appendix A.1 to A.3: key, salt, info, output.
HKDFS = [
    ("0b" * 22, "000102030405060708090a0b0c", "f0f1f2f3f4f5f6f7f8f9",
     "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"),
    (bytes(range(0x50)).hex(), bytes(range(0x60, 0xB0)).hex(), bytes(range(0xB0, 0x100)).hex(),
     ("b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
     "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87")),
    ("0b" * 22, "", "", "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"),
]  # fmt: skip

# RFC 7914, section 12: password, salt, N, r, p, output.
SCRYPTS = [
    ("", "", 16, 1, 1,
     ("77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442"
     "fcd0069ded0948f8326a753a0fc81f17e8d3e0fb2e0d3628cf35e20c38d18906")),
    ("password", "NaCl", 1024, 8, 16,
     ("fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
     "2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640")),
    ("pleaseletmein", "SodiumChloride", 16384, 8, 1,
     ("7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
     "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887")),
]  # fmt: skip


@pytest.mark.parametrize(("key", "nonce", "plain", "bound", "sealed", "tag"), GCM)
def test_gcm_gives_what_nist_says(key: str, nonce: str, plain: str, bound: str, sealed: str, tag: str) -> None:
    cipher = AESGCM(bytes.fromhex(key))
    given = cipher.encrypt(bytes.fromhex(nonce), bytes.fromhex(plain), bytes.fromhex(bound))
    assert given.hex() == sealed + tag
    assert cipher.decrypt(bytes.fromhex(nonce), given, bytes.fromhex(bound)).hex() == plain


@pytest.mark.parametrize(("key", "salt", "info", "output"), HKDFS)
def test_hkdf_gives_what_the_rfc_says(key: str, salt: str, info: str, output: str) -> None:
    kdf = HKDF(SHA256(), len(output) // 2, salt=bytes.fromhex(salt), info=bytes.fromhex(info))
    assert kdf.derive(bytes.fromhex(key)).hex() == output


@pytest.mark.parametrize(("password", "salt", "n", "r", "p", "output"), SCRYPTS)
def test_scrypt_gives_what_the_rfc_says(password: str, salt: str, n: int, r: int, p: int, output: str) -> None:
    assert Scrypt(salt=salt.encode(), length=64, n=n, r=r, p=p).derive(password.encode()).hex() == output


def test_argon2id_gives_what_the_rfc_says() -> None:
    # RFC 9106, section 5.3
    kdf = Argon2id(
        salt=b"\x02" * 16, length=32, iterations=3, lanes=4, memory_cost=32, ad=b"\x04" * 12, secret=b"\x03" * 8
    )
    assert kdf.derive(b"\x01" * 32).hex() == "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"


class Fixed(world.World):
    """A world whose chance is known: the salt and the nonce count up from 0."""

    def secret_bytes(self, count: int) -> bytes:
        return bytes(range(count))


def test_a_sealed_value_is_put_together_as_written_down() -> None:
    """The format, once more and by hand: a later release must open what this one has sealed."""
    key = bytes(range(32))
    with world.use(Fixed()):
        sealed = SealRing([key]).seal(b"hello", context="t.c/1")
    head = b"\x01" + ring.key_id(key) + bytes(range(16))
    derived = HKDF(SHA256(), 32, salt=bytes(range(16)), info=b"archstone seal \x01" + ring.key_id(key)).derive(key)
    assert sealed == head + bytes(range(12)) + AESGCM(derived).encrypt(bytes(range(12)), b"hello", head + b"t.c/1")
    assert SealRing([key]).open(sealed, context="t.c/1") == b"hello"


def test_what_the_first_release_has_sealed_opens() -> None:
    kept = (
        "010a55ed7ad29fe3ea000102030405060708090a0b0c0d0e0f000102030405060708090a0b"
        "4ba996c6991039be788e53f706e2f9ac10128f5ff2"
    )
    assert SealRing([bytes(range(32))]).open(bytes.fromhex(kept), context="t.c/1") == b"hello"
