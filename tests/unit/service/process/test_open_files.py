"""The limit of open files, over a simulated system."""

from __future__ import annotations

import resource

import pytest

from flowspan_service.process import open_files
from flowspan_service.process.open_files import OpenFiles, from_reserve, raise_limit

UNLIMITED = resource.RLIM_INFINITY


class System:
    """The limits and the open files of a system."""

    def __init__(self) -> None:
        self.limits = (256, 4096)
        self.used = 0

    def getrlimit(self, _: int) -> tuple[int, int]:
        return self.limits

    def setrlimit(self, _: int, limits: tuple[int, int]) -> None:
        soft, hard = limits
        if hard != self.limits[1] or (hard != UNLIMITED and soft > hard):
            raise ValueError("not allowed")
        self.limits = limits

    def listdir(self, _: str) -> list[str]:
        if self.used >= self.limits[0]:
            raise OSError(24, "Too many open files")
        return [""] * self.used

    def open(self, _: str, __: int) -> int:
        if self.limits[0] != UNLIMITED and self.used >= self.limits[0]:
            raise OSError(24, "Too many open files")
        self.used += 1
        return self.used

    def close(self, _: int) -> None:
        self.used -= 1


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    made = System()
    monkeypatch.setattr(resource, "getrlimit", made.getrlimit)
    monkeypatch.setattr(resource, "setrlimit", made.setrlimit)
    for name in ("listdir", "open", "close"):
        monkeypatch.setattr(open_files.os, name, getattr(made, name))
    monkeypatch.setattr(open_files._Reserve, "files", [])
    monkeypatch.setattr(open_files._Reserve, "size", 0)
    return made


@pytest.mark.parametrize(
    ("soft", "hard", "raised", "reserve"),
    [
        (256, 4096, 4096, 64),
        (1024, 1 << 20, 65_536, 64),
        (1 << 20, 1 << 20, 1 << 20, 64),
        (256, UNLIMITED, 65_536, 64),
        (UNLIMITED, UNLIMITED, 65_536, 64),
        (100, 200, 200, 25),
    ],
)
def test_limit_is_raised_and_a_reserve_is_taken(
    system: System, soft: int, hard: int, raised: int, reserve: int
) -> None:
    system.limits = (soft, hard)
    assert raise_limit() == raised
    assert system.used == reserve


def test_reserve_is_given_for_what_the_service_opens(system: System) -> None:
    system.limits = (100, 100)
    raise_limit()
    assert system.used == 12
    while system.used < 100:  # Clients take all remaining files.
        system.open("", 0)
    for left in (10, 8, 6):
        with from_reserve():
            assert system.used == 96
            system.open("", 0)
            system.open("", 0)
        assert len(open_files._Reserve.files) == left
        assert system.used == 100
    system.used -= 50  # Clients leave.
    OpenFiles().count()
    assert len(open_files._Reserve.files) == 12


def test_without_a_reserve_nothing_is_given(system: System) -> None:
    with from_reserve():
        assert system.used == 0
    assert system.used == 0


def test_streams_are_refused_near_the_limit(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_files, "_COUNT_AGAIN_S", 1e9)
    system.limits, system.used = (200, 4096), 140
    files = OpenFiles()
    files.count()
    assert [files.begin() for _ in range(12)] == [True] * 10 + [False] * 2
    assert files.refused == 2
    system.used = 100
    files.count()
    assert not files.is_short
    system.used = 200  # No file is left for counting.
    files.count()
    assert files.is_short


def test_streams_that_end_soon_do_not_count(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_files, "_COUNT_AGAIN_S", -1.0)
    system.limits, system.used = (200, 4096), 100
    files = OpenFiles()
    assert all(files.begin() for _ in range(1000))
    assert files.refused == 0
