"""Profiles, and the settings that they and the environment give together."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from flowspan.config import Config, config_for, load
from flowspan.connection.access import with_access
from flowspan.connection.address import Address, parse_address
from flowspan.exceptions import ConfigError
from flowspan.profiles import Profiles, read_profiles, write_profiles

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = {"address": "prod:4600", "token_file": "/prod/token", "tls_ca": "/prod/ca"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write_profiles(tmp_path, Profiles("prod", {"prod": SETTINGS, "other": {"address": "o:1"}}))
    return tmp_path


def loaded(home: Path, **environ: str) -> Config:
    return load({"FLOWSPAN_HOME": str(home), **environ})


def test_profiles_come_back(home: Path) -> None:
    assert read_profiles(home) == Profiles("prod", {"prod": SETTINGS, "other": {"address": "o:1"}})
    assert read_profiles(home / "none") == Profiles()
    assert [path.name for path in home.iterdir()] == ["profiles.json"]


def test_the_current_profile_gives_the_settings(home: Path) -> None:
    config = loaded(home)
    assert (config.address, config.profile) == ("prod:4600", "prod")
    assert (str(config.token_file), str(config.tls_ca)) == ("/prod/token", "/prod/ca")
    assert access_of(config).uses_tls


def test_another_profile_can_be_chosen(home: Path) -> None:
    config = loaded(home, FLOWSPAN_PROFILE="other")
    assert (config.address, config.profile, config.token_file) == ("o:1", "other", None)
    config = loaded(home, FLOWSPAN_PROFILE="local")
    assert (config.address, config.profile) == (None, "")
    with pytest.raises(ConfigError, match="no profile 'x', only local, other, prod"):
        loaded(home, FLOWSPAN_PROFILE="x")


def test_an_address_of_the_environment_replaces_the_profile(home: Path) -> None:
    config = loaded(home, FLOWSPAN_ADDRESS="mine:1")
    assert (config.address, config.profile) == ("mine:1", "")
    assert config.token_file is config.tls_ca is None


def test_the_access_of_a_profile_is_for_its_address_only(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWSPAN_HOME", str(home))
    assert str(config_for("prod:4600").token_file) == "/prod/token"
    elsewhere = config_for("elsewhere:1")
    assert (elsewhere.address, elsewhere.profile) == ("elsewhere:1", "")
    assert elsewhere.token_file is elsewhere.tls_ca is None


def test_a_single_variable_replaces_a_setting_of_the_profile(home: Path) -> None:
    config = loaded(home, FLOWSPAN_TOKEN="t", FLOWSPAN_TLS="false")
    assert (config.address, config.token, config.token_file) == ("prod:4600", "t", None)
    assert not access_of(config).uses_tls
    assert access_of(config).authorization() == "Bearer t"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"profiles": []}', '{"profiles": {"x": 1}}', "\xff"]
)
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "profiles.json").write_text(content, encoding="latin-1")
    with pytest.raises(ConfigError, match=r"profiles\.json"):
        loaded(tmp_path)
    assert loaded(tmp_path, FLOWSPAN_ADDRESS="mine:1").address == "mine:1"


def test_settings_of_newer_versions_are_ignored(tmp_path: Path) -> None:
    content: dict[str, Any] = {"profiles": {"p": {"address": "a:1", "new": 5}}, "current": "p"}
    (tmp_path / "profiles.json").write_text(json.dumps(content))
    assert loaded(tmp_path).address == "a:1"


def test_a_bad_setting_of_a_profile_is_named(tmp_path: Path) -> None:
    write_profiles(tmp_path, Profiles("p", {"p": {"address": "no port"}}))
    with pytest.raises(ConfigError, match="profile p: address"):
        loaded(tmp_path)


def test_a_socket_needs_neither_a_token_nor_tls(tmp_path: Path) -> None:
    config = loaded(tmp_path, FLOWSPAN_TOKEN="t", FLOWSPAN_TLS="true")
    address = with_access(parse_address("unix:/x"), config)
    assert address.access.authorization() == ""
    assert not address.access.uses_tls


def test_the_file_of_a_token_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "token"
    access = access_of(loaded(tmp_path, FLOWSPAN_TOKEN_FILE=str(file), FLOWSPAN_ADDRESS="a:1"))
    with pytest.raises(ConfigError, match="cannot be read"):
        access.authorization()
    for content, expected in (("one\n", "Bearer one"), ("  two ", "Bearer two")):
        file.write_text(content)
        assert access.authorization() == expected
    for bad in ("", "two words", "größe"):
        file.write_text(bad)
        with pytest.raises(ConfigError, match="access token"):
            access.authorization()


def test_a_token_is_not_in_the_text_of_the_settings(tmp_path: Path) -> None:
    config = loaded(tmp_path, FLOWSPAN_TOKEN="fst_secret", FLOWSPAN_ADDRESS="a:1")
    assert "fst_secret" not in repr(config)
    assert "fst_secret" not in repr(access_of(config))
    assert "fst_secret" not in repr(address_of(config))
    with pytest.raises(ConfigError) as raised:
        loaded(tmp_path, FLOWSPAN_TOKEN="fst_secret ü")
    assert "fst_secret" not in str(raised.value)


def test_the_access_is_no_part_of_an_address() -> None:
    config = load({"FLOWSPAN_HOME": "/x", "FLOWSPAN_TOKEN": "t"})
    assert with_access(parse_address("a:1"), config) == parse_address("a:1")


def address_of(config: Config) -> Address:
    assert config.address is not None
    return with_access(parse_address(config.address), config)


def access_of(config: Config) -> Any:
    return address_of(config).access
