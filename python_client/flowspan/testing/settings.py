"""Temporary settings: environment variables, which apply to all threads and processes."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from dataclasses import fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from flowspan.config import Config, load
from flowspan.exceptions import ConfigError
from flowspan.testing.blocks import block

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PREFIX = "FLOWSPAN_"
_KEPT = ("FLOWSPAN_TEST_", "FLOWSPAN__")
"""Prefixes of variables that are not settings: those of our own tests and of `flowspan.runtime`."""

_lock = threading.Lock()
_layers: list[dict[str, str | None]] = []
"""Variables of the open blocks, outermost first; None stands for an unset variable."""
_beneath: dict[str, str | None] = {}
"""Values of the variables outside all blocks."""


@block
def temporary_settings(**settings: Any) -> Iterator[None]:
    """Run a block with other settings, such as ``logging_level="DEBUG"``.

    They apply to top-level runs that start in the block, in any thread, worker process or
    subprocess. Open runs keep their settings. The settings are restored at the end of the
    block.

    Args:
        **settings: The settings by name (see `flowspan config show`), in lower case and without
            FLOWSPAN_. None stands for the default.

    Raises:
        ConfigError: A setting is unknown or has an invalid value.
    """
    layer = {variable_of(name): text_of(value) for name, value in settings.items()}
    with environment(layer):
        yield


@contextmanager
def environment(layer: Mapping[str, str | None]) -> Iterator[None]:
    """Set environment variables while the block runs.

    Blocks may end in another order than they started, as fixtures do.

    Raises:
        ConfigError: A setting has an invalid value.
    """
    own = dict(layer)
    with _lock:
        for name in own:
            if not any(name in other for other in _layers):
                _beneath[name] = os.environ.get(name)
        _layers.append(own)
        _apply(own)
    try:
        load(os.environ)
        yield
    finally:
        with _lock:
            # Compare by identity, because another layer may be equal.
            _layers[:] = [other for other in _layers if other is not own]
            _apply(own)


def _apply(names: Mapping[str, str | None]) -> None:
    """Set variables to the values of the innermost block that sets them."""
    for name in names:
        settled = [other[name] for other in _layers if name in other]
        text = settled[-1] if settled else _beneath.pop(name, None)
        if text is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = text


def cleared() -> dict[str, str | None]:
    """Return the changes that unset all settings in the environment."""
    return {
        name: None for name in os.environ if name.startswith(PREFIX) and not name.startswith(_KEPT)
    }


def variable_of(name: str) -> str:
    """Return the environment variable of a setting.

    Raises:
        ConfigError: There is no such setting.
    """
    known = [field.name for field in fields(Config)]
    if name not in known:
        near = get_close_matches(name, known, 1)
        hint = f"; did you mean {near[0]!r}?" if near else f". Choose from {', '.join(known)}"
        raise ConfigError(f"flowspan has no setting {name!r}{hint}")
    return PREFIX + name.upper()


def text_of(value: Any) -> str | None:
    """Return the value of a setting as the text of an environment variable."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple, set, frozenset)):
        return ",".join(map(str, value))
    return str(value)
