"""What would cross a network in the clear is refused before anything is opened, unless somebody says otherwise."""

import pytest

from archstone.errors import ConfigError
from archstone.runtime import load_settings
from archstone.runtime.plaintext import flaw_of_url
from archstone.systems.exchange.system import exchange
from archstone.systems.shop.system import shop

PROTECTED = (
    "", "files", "memory:", "file:///srv/list.txt", "sqlite:////srv/a.db",
    "redis://localhost", "redis://:secret@127.0.0.1:6379/0", "redis://[::1]:6379", "rediss://cache.example",
    "smtp://localhost:25", "smtps://mail.example", "smtp+starttls://mail.example", "https://api.example/range/",
    "postgresql://ann@localhost/shop", "postgresql:///shop", "postgresql://ann@/shop?host=/run/postgresql",
    "postgresql://ann:secret@db.example/shop?sslmode=verify-full", "postgresql://db.example/shop?sslmode=verify-ca",
)  # fmt: skip
IN_THE_CLEAR = (
    "redis://cache.example", "redis://localhost.evil.example", "redis://127.0.0.1.example", "redis://10.0.0.1",
    "rediss://cache.example?ssl_cert_reqs=none", "smtp://mail.example", "http://api.example/range/",
    "postgresql://db.example/shop", "postgresql://db.example/shop?sslmode=disable",
    "postgresql://db.example/shop?sslmode=require", "postgresql://localhost,db.example/shop",
    "postgresql://ann@localhost/shop?host=db.example", "amqp://broker.example", "nats://broker.example",
    "postgresql://db.example/shop?sslmode=verify-full&sslmode=disable",
)  # fmt: skip


@pytest.mark.parametrize("url", PROTECTED)
def test_what_stays_here_or_is_encrypted_may_go(url: str) -> None:
    assert flaw_of_url(url) is None


@pytest.mark.parametrize("url", IN_THE_CLEAR)
def test_what_crosses_a_network_in_the_clear_may_not(url: str) -> None:
    flaw = flaw_of_url(url)
    assert flaw is not None
    assert "secret" not in flaw


def settled(**given: object) -> None:
    load_settings(given, system=shop, environ={})


def test_every_place_in_the_settings_is_looked_at_and_told_with_the_others() -> None:
    options = {
        "cache": "redis://cache.example",
        "mailer": "smtp://ann:secret@mail.example",
        "limits": "redis://l.example",
    }
    with pytest.raises(ConfigError) as caught:
        settled(host="0.0.0.0", database_url="postgresql://ann:secret@db.example/shop", options=options)
    told = str(caught.value)
    for part in ("host (from flag)", "database_url (from flag)", "options.cache", "options.mailer", "options.limits"):
        assert part in told
    assert "secret" not in told


def test_every_option_of_the_shop_that_names_a_server_is_one_that_connects() -> None:
    naming = {each.name for each in shop.options if "://" in each.about or "URL" in each.about}
    assert naming == {each.name for each in shop.options if each.connects}


def test_http_beyond_this_machine_wants_tls_a_proxy_or_a_word() -> None:
    for host in ("127.0.0.1", "localhost", "::1"):
        settled(host=host)
    settled(host="0.0.0.0", tls_cert="a.pem", tls_key="a.key")
    settled(host="0.0.0.0", trusted_proxies="10.0.0.1")
    settled(host="0.0.0.0", plaintext="anywhere")
    for host in ("0.0.0.0", "::", "192.168.1.5", "shop.example"):
        with pytest.raises(ConfigError, match="http would be spoken beyond this machine"):
            settled(host=host)


def test_who_trusts_the_network_says_so_once() -> None:
    settled(plaintext="anywhere", host="0.0.0.0", database_url="postgresql://db/shop", options={"cache": "redis://c"})


def test_keys_of_programs_cross_no_network_in_the_clear() -> None:
    def listening(**options: str) -> None:
        load_settings({"options": options}, system=exchange, environ={})

    listening(binary="127.0.0.1:7100", fix="[::1]:7101", feed="0.0.0.0:7102")  # the feed is for everybody
    listening(binary="off")
    for name in ("binary", "fix"):
        with pytest.raises(ConfigError, match=f"options.{name}.*is not encrypted"):
            listening(**{name: "0.0.0.0:7100"})
