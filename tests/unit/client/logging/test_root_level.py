"""flowspan stops changing the root logger's level once the program configures logging."""

from __future__ import annotations

import logging
import logging.config
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING

import pytest
from tests.support.run_logs import alone

from flowspan.logging import capture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = logging.getLogger()
_stream = StringIO()


@contextmanager
def installed() -> Iterator[None]:
    """Start capturing in a program that has not configured logging.

    This is not a fixture, because pytest adds its handlers to the root logger for each phase of a
    test.
    """
    level, handlers = ROOT.level, list(ROOT.handlers)
    with alone():
        ROOT.setLevel(logging.WARNING)
        capture.install(lambda _event: None, "INFO", console=False)
        assert ROOT.level == logging.INFO
        _stream.seek(0)
        _stream.truncate()
        yield
        capture.uninstall()
        for handler in list(ROOT.handlers):
            ROOT.removeHandler(handler)
    ROOT.setLevel(level)
    assert ROOT.handlers == handlers
    assert not {"setLevel", "addHandler"} & set(vars(ROOT))


def by_dictionary(level: str | None) -> None:
    handler = {"class": "logging.StreamHandler", "stream": _stream}
    root = {"handlers": ["h"]} | ({"level": level} if level else {})
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"h": handler},
            "root": root,
        }
    )


WAYS: dict[str, Callable[[], object]] = {
    "basicConfig": lambda: logging.basicConfig(stream=_stream),
    "basicConfig, forced": lambda: logging.basicConfig(stream=_stream, force=True),
    "a handler": lambda: ROOT.addHandler(logging.StreamHandler(_stream)),
    "a dictionary": lambda: by_dictionary(None),
}


@pytest.mark.parametrize("way", WAYS)
def test_handlers_of_the_program_get_what_they_would_without_flowspan(way: str) -> None:
    with installed():
        WAYS[way]()
        assert ROOT.level == logging.WARNING
        logging.getLogger("mine").info("fine")
        logging.getLogger("mine").warning("grave")
        assert "grave" in _stream.getvalue()
        assert "fine" not in _stream.getvalue()
        # A later flow does not lower it again either.
        capture.install(lambda _event: None, "INFO", console=False)
        assert ROOT.level == logging.WARNING


LEVELS: dict[str, Callable[[], object]] = {
    "basicConfig": lambda: logging.basicConfig(stream=_stream, level="DEBUG"),
    "setLevel, then a handler": lambda: (
        ROOT.setLevel(logging.DEBUG),
        ROOT.addHandler(logging.StreamHandler(_stream)),
    ),
    "a handler, then setLevel": lambda: (
        ROOT.addHandler(logging.StreamHandler(_stream)),
        ROOT.setLevel("DEBUG"),
    ),
    "setLevel, then basicConfig": lambda: (
        ROOT.setLevel(logging.DEBUG),
        logging.basicConfig(stream=_stream),
    ),
    "a dictionary": lambda: by_dictionary("DEBUG"),
}


@pytest.mark.parametrize("way", LEVELS)
def test_a_level_of_the_program_is_kept(way: str) -> None:
    with installed():
        LEVELS[way]()
        assert ROOT.level == logging.DEBUG
        capture.install(lambda _event: None, "INFO", console=False)
        assert ROOT.level == logging.DEBUG
        logging.getLogger("mine").debug("finest")
        assert _stream.getvalue().count("finest") == 1
