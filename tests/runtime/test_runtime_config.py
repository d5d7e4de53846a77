"""One configuration model: later sources win, every value has a source, all faults come at once, secrets stay out."""

from pathlib import Path

import pytest

from archstone import world
from archstone.errors import ConfigError
from archstone.runtime import Embedded, Settings, load_settings
from archstone.runtime.config import check_crash_point
from archstone.systems.shop.system import shop


def toml(folder: Path, text: str) -> Path:
    file = folder / "archstone.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_without_any_source_everything_is_a_default() -> None:
    loaded = load_settings(environ={})
    assert loaded.settings == Settings()
    assert {row.source for row in loaded.rows()} == {"default"}


def test_file_environment_and_flag_win_over_each_other_in_this_order(tmp_path: Path) -> None:
    file = toml(tmp_path, 'host = "::1"\nport = 1\nlog_level = "error"\n[options]\nmailer = "file"\npace = "file"\n')
    environ = {"ARCHSTONE_PORT": "2", "ARCHSTONE_LOG_LEVEL": "debug", "ARCHSTONE_OPTION_PACE": "environment"}
    loaded = load_settings({"log_level": "warning", "options": {"extra": "flag"}}, file=file, environ=environ)
    rows = {row.name: (row.value, row.source) for row in loaded.rows()}
    assert rows["host"] == ("::1", str(file))
    assert rows["port"] == (2, "ARCHSTONE_PORT")
    assert rows["log_level"] == ("warning", "flag")
    assert rows["drain_s"] == (10.0, "default")
    assert rows["options.mailer"] == ("file", str(file))
    assert rows["options.pace"] == ("environment", "ARCHSTONE_OPTION_PACE")
    assert rows["options.extra"] == ("flag", "flag")


def test_a_flag_that_is_not_given_changes_nothing() -> None:
    assert load_settings({"port": None}, environ={"ARCHSTONE_PORT": "9"}).settings.port == 9


def test_the_file_in_the_working_directory_is_read_if_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings(environ={}).settings.port == 8080
    toml(tmp_path, "port = 7")
    assert load_settings(environ={}).settings.port == 7


def test_all_faults_are_told_at_once_with_value_and_source(tmp_path: Path) -> None:
    file = toml(tmp_path, 'port = "x"\ncolour = "red"\noptions = 3\n')
    with pytest.raises(ConfigError) as caught:
        load_settings({"drain_s": -1}, file=file, environ={"ARCHSTONE_LOG_LEVEL": "loud"})
    told = str(caught.value)
    for part in ("port='x'", "colour='red'", "there is no such setting", "options=3", "drain_s='-1' (from flag)",
                 "log_level='loud' (from ARCHSTONE_LOG_LEVEL)", str(file), "`archstone config SYSTEM`"):  # fmt: skip
        assert part in told, told


def test_options_are_set_one_by_one_in_the_environment() -> None:
    with pytest.raises(ConfigError, match="ARCHSTONE_OPTION_NAME for each"):
        load_settings(environ={"ARCHSTONE_OPTIONS": "a=b"})


def test_variables_that_are_no_settings_are_left_alone() -> None:
    environ = {"ARCHSTONE_CRASH": "x:1", "ARCHSTONE_SEED": "7", "ARCHSTONE_TRACEBACK": "1", "PATH": "/bin"}
    environ |= {"ARCHSTONE_ROOT_KEYS": "c2VjcmV0"}
    environ |= {"ARCHSTONE_REQUIRE_BACKENDS": "1", "ARCHSTONE_TEST_POSTGRES_URL": "postgresql://localhost/x"}
    assert load_settings(environ=environ).settings == Settings()


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("smtp_password", "hunter2", "***"),
        ("api_token", "hunter2", "***"),
        ("signing_key", "hunter2", "***"),
        ("mailer", "smtp://ann:hunter2@mail.example:25", "smtp://***@mail.example:25"),
        ("mailer", "smtp://ann:hunt@r2@mail.example", "smtp://***@mail.example"),
        ("mailer", "smtp://mail.example", "smtp://mail.example"),
    ],
)
def test_secrets_are_not_shown(name: str, value: str, shown: str) -> None:
    rows = {row.name: row.shown for row in load_settings({"options": {name: value}}, environ={}).rows()}
    assert rows[f"options.{name}"] == shown


def test_a_secret_under_a_wrong_name_does_not_come_out_in_the_error() -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(environ={"ARCHSTONE_SMTP_PASSWORD": "hunter2", "ARCHSTONE_MAILER": "smtp://a:hunter2@b"})
    assert "smtp_password" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_trusted_proxies_are_addresses_or_networks() -> None:
    def trusted(text: str) -> str:
        return load_settings(environ={"ARCHSTONE_TRUSTED_PROXIES": text}).settings.trusted_proxies

    assert load_settings(environ={}).settings.trusted_proxies == ""
    assert trusted("10.0.0.1 , ::1,192.168.0.0/16,") == "10.0.0.1,::1,192.168.0.0/16"
    for wrong in ("*", "proxy.example", "10.0.0.1 ::1"):
        with pytest.raises(ConfigError, match="trusted_proxies"):
            trusted(wrong)


BOUNDS = (
    ("port", 65535, 65536),
    ("port", 0, -1),
    ("drain_s", 600, 600.1),
    ("body_limit_bytes", 1000, 999),
    ("key_keep_s", 0.1, 0),
)


@pytest.mark.parametrize(("name", "good", "bad"), BOUNDS)
def test_bounds_are_as_described(name: str, good: float, bad: float) -> None:
    assert getattr(load_settings({name: good}, environ={}).settings, name) == good
    with pytest.raises(ConfigError, match=name):
        load_settings({name: bad}, environ={})


@pytest.mark.parametrize(("text", "what"), [("port = = 1", "not TOML"), ("\xff", "not TOML")])
def test_a_file_that_is_not_toml_is_refused(tmp_path: Path, text: str, what: str) -> None:
    file = tmp_path / "archstone.toml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=what):
        load_settings(file=file, environ={})


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name one that can be read"):
        load_settings(file=tmp_path / "no.toml", environ={})


def test_marks_of_handled_events_outlive_dead_letters() -> None:
    assert Settings().inbox_keep_s > Settings().dead_keep_s, "a replayed letter would be handled twice"


def test_every_option_of_a_system_is_listed_set_or_not_with_default_and_source() -> None:
    environ = {"ARCHSTONE_OPTION_PARCELS": "fast", "ARCHSTONE_OPTION_PAYMENTS_TOKEN": "hunter2"}
    rows = {row.name: row for row in load_settings(system=shop, environ=environ).rows()}
    assert (rows["options.mailer"].shown, rows["options.mailer"].source) == ("files", "default")
    assert (rows["options.payments"].shown, rows["options.payments"].source) == ("bank", "default")
    assert (rows["options.parcels"].shown, rows["options.parcels"].source) == ("fast", "ARCHSTONE_OPTION_PARCELS")
    assert rows["options.parcels"].about == "How fast parcels come along. One of slow, fast."
    assert rows["options.payments_token"].shown == "***"
    assert rows["options.payments_token"].about == "What the plug-in of payments asks for."


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"parcel": "fast"},
            "option parcel='fast' (from flag): there is no such option, did you mean parcels; there are",
        ),
        (
            {"colour": "red"},
            (
                "no such option; there are admins_need_factor, audit_keep_days, breached_passwords, cache, "
                "checkout, images, images_allow, limits, mailer, parcels, payments, "
                "payments_*, public_url, root_keys, sign_up. `"
            ),
        ),
        ({"parcels": "quick"}, "option parcels='quick' (from flag): take one of slow, fast"),
        ({"tokens": "hunter2"}, "option tokens='***' (from flag): there is no such option"),
    ],
)
def test_an_option_that_the_system_does_not_have_is_refused(options: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings({"options": options}, system=shop, environ={})
    assert told in str(caught.value)
    assert str(caught.value).endswith("`archstone config shop` lists the names")


def test_options_of_all_sources_are_checked_and_told_at_once(tmp_path: Path) -> None:
    file = toml(tmp_path, '[options]\nmail = "x"\n')
    with pytest.raises(ConfigError) as caught:
        load_settings({"port": -1}, system=shop, file=file, environ={"ARCHSTONE_OPTION_PARSELS": "fast"})
    for part in (
        f"option mail='x' (from {file})",
        "(from ARCHSTONE_OPTION_PARSELS)",
        "did you mean parcels",
        "port='-1'",
    ):
        assert part in str(caught.value)


def test_a_misspelt_setting_is_told_with_the_one_that_is_meant() -> None:
    with pytest.raises(ConfigError, match=r"log_levl='debug' .*: there is no such setting, did you mean log_level"):
        load_settings(environ={"ARCHSTONE_LOG_LEVL": "debug"})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "sagas.after_efect",
            "there is no crash point 'sagas.after_efect', did you mean sagas.after_effect; there",
        ),
        ("nonsense", "there is no crash point 'nonsense'; there are "),
        (":1", "there is no crash point ''; there are "),
        (
            "sagas.after_effect:",
            "write sagas.after_effect:3 to crash at its third pass, sagas.after_effect at its",
        ),
        ("sagas.after_effect:0", "write sagas.after_effect:3"),
        ("sagas.after_effect:often", "write sagas.after_effect:3"),
        ("sagas.after_effect:-1", "write sagas.after_effect:3"),
    ],
)
def test_a_crash_point_that_would_never_strike_is_refused(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_crash_point({world.CRASH_VARIABLE: text})
    assert str(caught.value).startswith(f"ARCHSTONE_CRASH={text}: ")
    assert told in str(caught.value)


def test_a_crash_point_that_is_there_is_taken() -> None:
    for text in ("", "sagas.after_effect", "sagas.after_effect:12"):
        check_crash_point({world.CRASH_VARIABLE: text})
    check_crash_point({})


async def test_a_system_does_not_open_with_a_wrong_crash_point_or_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="option parcel='fast': there is no such option, did you mean parcels"):
        await Embedded(shop, tmp_path / "a", Settings(options={"parcel": "fast"})).__aenter__()
    monkeypatch.setenv(world.CRASH_VARIABLE, "shop.bank_after_captur")
    with pytest.raises(ConfigError, match=r"did you mean shop\.bank_after_capture"):
        await Embedded(shop, tmp_path / "b").__aenter__()
    assert not (tmp_path / "b").exists()
