"""Which new passwords are refused, by what is known of breaches, and which cost a machine can bear."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from threading import Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archstone.errors import ConfigError
from archstone.security import Cost, PasswordPolicy, Passwords, PwnedPasswords, propose_cost

CHEAP = Cost(memory_kib=64, passes=1)
POLICY = PasswordPolicy(words=("archstone", "shop"))


@pytest.mark.parametrize(
    ("password", "kind"),
    [
        ("short7!", "short"),
        ("x" * 201, "long"),
        ("abababababab", "repeats"),
        ("password123", "common"),
        ("QWERTYUIOP", "common"),
        ("ann@example.com", "context"),
        ("ann.alder", "context"),
        ("archstone1", "context"),
        ("alder-alder1", "context"),
        ("Summer2026!", "guessable"),
        ("hunter2hunter2", "guessable"),
        ("a quiet evening", None),
        ("\u65e5\u672c\u8a9e\u306e\u9577\u3044\u5408\u8a00\u8449\u3067\u3059", None),
        ("k9$Vx2!qLw", None),
        ("correct horse battery staple", None),
    ],
)
def test_a_password_is_refused_for_being_guessed_and_not_for_its_characters(password: str, kind: str | None) -> None:
    flaw = POLICY.flaw(password, about=("ann.alder@example.com", "ann@example.com", "Ann Alder"))
    assert (None if flaw is None else flaw.kind) == kind
    assert flaw is None or password not in flaw.text


def test_both_ends_of_the_length_and_of_the_guesses() -> None:
    eight = "k9$Vx2!q"
    assert POLICY.flaw(eight) is None
    assert POLICY.flaw(eight[:7]) == ("short", "has fewer than 8 characters")
    assert POLICY.flaw(eight * 25) is None
    assert POLICY.flaw(eight * 25 + "x") == ("long", "has more than 200 characters")
    assert PasswordPolicy(max_characters=64, min_guesses=1).flaw(eight * 8) is None
    assert PasswordPolicy(min_characters=15).flaw("a quiet evening") is None
    assert PasswordPolicy(min_characters=16).flaw("a quiet evening") is not None
    with pytest.raises(ConfigError, match=r"min_characters=7 .*; max_characters=63 .*; min_guesses=nan"):
        PasswordPolicy(min_characters=7, max_characters=63, min_guesses=float("nan"))


def test_one_accent_in_two_ways_is_judged_alike() -> None:
    about = ("caf\u00e9s@example.com",)
    assert POLICY.flaw("caf\u00e9s@example.com", about=about) == POLICY.flaw("cafe\u0301s@example.com", about=about)


@given(password=st.text(max_size=80), about=st.lists(st.text(max_size=40), max_size=3))
@settings(max_examples=60, deadline=None)
def test_any_text_can_be_judged(password: str, about: list[str]) -> None:
    flaw = POLICY.flaw(password, about=about)
    assert flaw is None or flaw.kind in {"short", "long", "repeats", "common", "context", "guessable"}


async def test_passwords_judge_off_the_loop_and_ask_about_breaches_last() -> None:
    asked: list[str] = []

    class Known:
        async def times_seen(self, password: str, /) -> int:
            asked.append(password)
            return 3 if password == "a breached evening" else 0

    async with Passwords(cost=CHEAP, breached=Known()) as passwords:
        assert (await passwords.flaw("password123") or ("",))[0] == "common"
        assert (await passwords.flaw("a breached evening") or ("",))[0] == "breached"
        assert await passwords.flaw("a quiet evening") is None
    assert asked == ["a breached evening", "a quiet evening"]


SUFFIX = hashlib.sha1(b"a quiet evening").hexdigest().upper()[5:]


async def test_a_password_is_found_among_those_with_the_same_beginning() -> None:
    async def fetch(url: str) -> str:
        assert url == f"https://x/range/{hashlib.sha1(b'a quiet evening').hexdigest().upper()[:5]}"
        return f"{'0' * 35}:7\r\n{SUFFIX.lower()}:42\r\n{'F' * 35}:0\r\n"

    assert await PwnedPasswords("https://x/range", fetch=fetch).times_seen("a quiet evening") == 42


@pytest.mark.parametrize("answer", ["", "nonsense", f"{SUFFIX}", f"{SUFFIX}:x", f"{SUFFIX}:0", "\n" * 1000])
async def test_an_answer_without_the_password_means_unknown(answer: str) -> None:
    async def fetch(url: str) -> str:
        return answer

    assert await PwnedPasswords("https://x/", fetch=fetch).times_seen("a quiet evening") == 0


async def test_no_answer_in_time_means_unknown() -> None:
    async def fetch(url: str) -> str:
        await asyncio.sleep(10)
        return f"{SUFFIX}:42"

    assert await PwnedPasswords("https://x/", timeout_s=1, fetch=fetch).times_seen("a quiet evening") == 0


@pytest.mark.parametrize(("url", "timeout_s"), [("ftp://x/", 1.0), ("x", 1.0), ("https://x/", 0.0)])
def test_a_service_has_an_address_and_a_time(url: str, timeout_s: float) -> None:
    with pytest.raises(ConfigError, match="must be http or https"):
        PwnedPasswords(url, timeout_s=timeout_s)


@pytest.fixture
async def server() -> AsyncGenerator[tuple[str, list[tuple[str, str | None]]], None]:
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    asked: list[tuple[str, str | None]] = []

    class Range(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Add-Padding"]))
            if self.path.startswith("/moved"):
                self.send_response(302)
                self.send_header("Location", "/range/elsewhere")
                self.end_headers()
                return
            body = f"{SUFFIX}:42\r\n".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *told: object) -> None: ...

    served = ThreadingHTTPServer(("127.0.0.1", 0), Range)
    thread = Thread(target=served.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{served.server_port}", asked
    served.shutdown()
    thread.join()
    served.server_close()


@pytest.mark.real_time
async def test_a_service_is_asked_over_http_and_sends_nobody_elsewhere(
    server: tuple[str, list[tuple[str, str | None]]],
) -> None:
    url, asked = server
    assert await PwnedPasswords(f"{url}/range").times_seen("a quiet evening") == 42
    assert await PwnedPasswords(f"{url}/moved").times_seen("a quiet evening") == 0
    assert await PwnedPasswords("http://127.0.0.1:9/").times_seen("a quiet evening") == 0
    assert [(path.rsplit("/", 1)[0], padding) for path, padding in asked] == [("/range", "true"), ("/moved", "true")]
    assert all(len(path.rsplit("/", 1)[1]) == 5 for path, _ in asked)


def took_s(cost: Cost) -> float:
    return cost.memory_kib / 19_456 * cost.passes * 0.01


def test_the_highest_cost_within_the_time_is_proposed_memory_first() -> None:
    proposal = propose_cost(target_s=0.1, memory_limit_kib=65_536, measure=took_s)
    assert (proposal.cost, proposal.within) == (Cost(memory_kib=65_536, passes=2), True)
    assert proposal.took_s == took_s(proposal.cost) <= 0.1 < took_s(Cost(memory_kib=65_536, passes=3))
    assert propose_cost(target_s=0.025, measure=took_s).cost == Cost(passes=2)
    assert propose_cost(target_s=0.001, measure=took_s) == (Cost(), took_s(Cost()), False)
    assert propose_cost(target_s=1e9, memory_limit_kib=19_456, measure=took_s).cost == Cost(passes=50)


def test_a_proposal_is_measured_here() -> None:
    proposal = propose_cost(target_s=1e-9)
    assert (proposal.cost, proposal.within) == (Cost(), False)
    assert proposal.took_s > 0
    with pytest.raises(ConfigError, match="target_s=0"):
        propose_cost(target_s=0)
    with pytest.raises(ConfigError, match="memory_limit_kib=19455"):
        propose_cost(memory_limit_kib=19_455)
