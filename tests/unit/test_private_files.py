"""The client's and the service's helpers for private files and folders behave identically."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import flowspan.private_files
import flowspan_service.process.private_files

if TYPE_CHECKING:
    from collections.abc import Iterator

SIDES = {"client": flowspan.private_files, "service": flowspan_service.process.private_files}


@pytest.fixture(params=SIDES)
def side(request: pytest.FixtureRequest) -> Any:
    return SIDES[request.param]


@pytest.fixture(params=[0o000, 0o022, 0o077], autouse=True)
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def wide(path: Path) -> Path:
    path.chmod(0o777 if path.is_dir() else 0o666)
    return path


def test_what_is_made_is_private_with_the_folders_above_it(side: Any, tmp_path: Path) -> None:
    side.make_folder(tmp_path / "a" / "b" / "c")
    for path in ("a", "a/b", "a/b/c"):
        assert mode_of(tmp_path / path) == 0o700
    os.close(side.open_file(tmp_path / "file", os.O_WRONLY))
    assert mode_of(tmp_path / "file") == 0o600


@pytest.mark.skipif(
    not os.path.isdir("/proc/self"), reason="needs a folder in which no file can be created"
)
@pytest.mark.parametrize("name", ["home", "home/below", "self/home"])
def test_a_folder_that_cannot_be_made_is_an_error(side: Any, name: str) -> None:
    with pytest.raises(OSError, match="No such file"):
        side.make_folder(Path("/proc", name))


def test_a_folder_that_is_there_keeps_its_permissions_unless_it_is_our_own(
    side: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    wide(folder)
    side.make_folder(folder)
    assert mode_of(folder) == 0o777
    side.own_folder(folder)
    assert mode_of(folder) == 0o700


def test_a_home_is_tightened_with_what_flowspan_keeps_in_it_and_that_is_said_once(
    side: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home = tmp_path / "home"
    ours = [home / "flowspan.db", home / "spool" / "x.spool", home / "results" / "a" / "b"]
    others = [home / "notes" / "of-the-user.txt"]
    for path in (*ours, *others):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        for each in (path, path.parent):
            wide(each)
    wide(home)
    with caplog.at_level(logging.INFO):
        side.own_home(home)
        said = len(caplog.records)
        side.own_home(home)
    assert len(caplog.records) == said > 0
    assert mode_of(home) == mode_of(home / "results" / "a") == 0o700
    assert [mode_of(path) for path in ours] == [0o600] * 3
    assert [mode_of(path) for path in others] == [0o666]


def test_links_are_not_followed_to_what_is_elsewhere(side: Any, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.touch()
    wide(target)
    home = tmp_path / "home"
    home.mkdir()
    (home / "link").symlink_to(target)
    side.own_home(wide(home))
    assert mode_of(target) == 0o666


def test_an_open_file_is_tightened(side: Any, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("kept")
    handle = side.open_file(wide(path), os.O_RDWR)
    assert os.read(handle, 9) == b"kept"
    os.close(handle)
    assert mode_of(path) == 0o600
    os.close(side.open_file(tmp_path.__class__(os.devnull), os.O_WRONLY))


def test_what_belongs_to_another_user_is_left_alone(
    side: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    side.own_home(wide(home))
    assert mode_of(home) == 0o777


@pytest.mark.parametrize("kind", ["home directory", "above it", "temporary", "sticky"])
def test_a_folder_for_other_things_as_well_is_left_alone(
    kind: str, side: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / "below").mkdir(parents=True)
    wide(home)
    if kind == "sticky":
        home.chmod(0o1777)
    elif kind == "temporary":
        monkeypatch.setattr("tempfile.gettempdir", lambda: str(home))
    else:
        monkeypatch.setenv("HOME", str(home if kind == "home directory" else home / "below"))
    before = mode_of(home)
    side.own_home(home)
    assert mode_of(home) == before


def test_a_file_in_the_way_is_an_error(side: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="exists"):
        side.own_home(tmp_path / "file")
    with pytest.raises(OSError, match=r"[Dd]irectory"):
        side.make_folder(tmp_path / "file" / "below")


def test_a_logger_that_raises_is_no_trouble(
    side: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no time for you")

    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setattr(side.logger, "info", fail)
    side.own_home(wide(home))
    assert mode_of(home) == 0o700
