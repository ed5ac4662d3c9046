"""The home folder: FLOWSPAN_HOME, the user's data folder, or a private temporary folder."""

from __future__ import annotations

import os
import pwd
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs
import pytest

from flowspan import home
from flowspan.exceptions import ConfigError
from flowspan.home import expand, find_home

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the temporary directory, which contains the private folder."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(folder))
    return folder


@pytest.fixture
def data_folder(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path | str | Exception], None]:
    """Return a setter for the data folder that platformdirs returns."""

    def be(value: Path | str | Exception) -> None:
        def user_data_path(*_: object, **__: object) -> Path:
            if isinstance(value, Exception):
                raise value
            return Path(value)

        monkeypatch.setattr(platformdirs, "user_data_path", user_data_path)

    return be


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a user without HOME and without a passwd entry."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)


@pytest.mark.parametrize("name", ["a b", "a%41", "ünï", "[x]", " lead"])
def test_flowspan_home_is_taken_as_it_is(name: str, tmp_path: Path) -> None:
    assert find_home({"FLOWSPAN_HOME": str(tmp_path / name)}) == tmp_path / name


def test_a_relative_home_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_home({"FLOWSPAN_HOME": "here"}) == tmp_path / "here"


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize("text", ["~/flowspan", "~nobody-of-this-name/flowspan"])
def test_a_tilde_without_a_home_directory_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigError, match="FLOWSPAN_HOME=") as caught:
        find_home({"FLOWSPAN_HOME": text})
    assert text in str(caught.value)
    with pytest.raises(ConfigError, match="absolute path"):
        expand(text)


def test_the_users_data_folder_is_the_default(
    tmp_path: Path, data_folder: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    data_folder(tmp_path / "to" / "be" / "made")
    for environ in ({}, {"FLOWSPAN_HOME": ""}, {"FLOWSPAN_HOME": "  "}):
        assert find_home(environ) == tmp_path / "to" / "be" / "made"
    assert caplog.text == ""


@pytest.mark.parametrize("found", ["/.local/share/flowspan", "{home}/.local/share/flowspan", "x"])
def test_an_empty_home_is_not_the_root_directory(
    found: str, data_folder: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = pwd.struct_passwd(("me", "x", 1, 1, "", str(tmp_path), "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda _: entry)
    monkeypatch.setenv("HOME", "")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    data_folder(found.format(home=tmp_path))
    assert find_home({}) == tmp_path / ".local" / "share" / "flowspan"

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    data_folder(tmp_path / "data" / "flowspan")
    assert find_home({}) == tmp_path / "data" / "flowspan"


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize(
    "found", [RuntimeError("Could not determine home directory."), KeyError("uid"), "~/x", "x"]
)
def test_without_a_home_directory_a_private_folder_serves(
    found: str | Exception,
    data_folder: Callable[..., None],
    temporary: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    data_folder(found)
    (private,) = {find_home({}) for _ in range(2)}
    assert private.parent.parent == temporary
    assert stat.S_IMODE(private.parent.stat().st_mode) == 0o700
    assert str(private) in caplog.text
    assert "FLOWSPAN_HOME" in caplog.text


def test_a_home_directory_that_is_a_file_is_named(
    tmp_path: Path,
    data_folder: Callable[..., None],
    temporary: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").write_text("")
    data_folder(tmp_path / "file" / ".local" / "share" / "flowspan")
    assert find_home({}).is_relative_to(temporary)
    assert f"{tmp_path / 'file'} is not a folder" in caplog.text


def test_a_home_directory_that_cannot_be_reached_is_named(
    tmp_path: Path,
    data_folder: Callable[..., None],
    temporary: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    data_folder(tmp_path / "circle" / "flowspan")
    assert find_home({}).is_relative_to(temporary)
    assert f"{tmp_path / 'circle' / 'flowspan'} cannot be reached (Too many" in caplog.text


def test_a_home_directory_that_is_not_writable_is_named(
    tmp_path: Path,
    data_folder: Callable[..., None],
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # This also works for root.
    monkeypatch.setattr(home.os, "access", lambda path, _: Path(path) != tmp_path)
    data_folder(tmp_path / ".local" / "share" / "flowspan")
    assert find_home({}).is_relative_to(temporary)
    assert f"{tmp_path} is not writable" in caplog.text


def test_a_home_that_is_there_is_kept_to_also_where_it_cannot_be_written(
    tmp_path: Path,
    data_folder: Callable[..., None],
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(home.os, "access", lambda *_: False)
    data_folder(tmp_path)
    assert find_home({}) == tmp_path
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("trouble", ["mode", "file", "link", "owner"])
def test_a_private_folder_that_is_not_this_users_alone_is_refused(
    trouble: str,
    tmp_path: Path,
    data_folder: Callable[..., None],
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data_folder(RuntimeError())
    folder = temporary / f"flowspan-{os.geteuid()}"
    if trouble == "file":
        folder.write_text("")
    elif trouble == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "elsewhere")
    else:
        folder.mkdir(mode=0o700)
        if trouble == "mode":
            folder.chmod(0o770)
        else:
            user_id = os.geteuid() + 1
            monkeypatch.setattr(home.os, "geteuid", lambda: user_id)
            folder.rename(temporary / f"flowspan-{os.geteuid()}")
    with pytest.raises(ConfigError, match="FLOWSPAN_HOME") as caught:
        find_home({})
    assert str(temporary) in str(caught.value)


def test_without_a_temporary_directory_either_the_error_names_flowspan_home(
    data_folder: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gettempdir() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    data_folder(RuntimeError())
    monkeypatch.setattr(tempfile, "gettempdir", gettempdir)
    with pytest.raises(ConfigError, match="FLOWSPAN_HOME"):
        find_home({})
