"""The lowered level of the root logger, without interfering with the program's logging.

Python's root logger only passes warnings, so the program's loggers would do the same inside runs.
If the program has not configured logging, only flowspan's handlers see the records that a lower
level lets through. As soon as the program adds a handler or sets a level, the old level is
restored.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_basic_config = logging.basicConfig


class RootLevel:
    """The level of the root logger.

    Args:
        own: Flowspan's handlers, which are not the program's configuration.
    """

    def __init__(self, own: Sequence[logging.Handler]) -> None:
        self._own = own
        self._before: int | None = None
        """The level before it was lowered; None if it was not."""

    def lower(self, level: int) -> None:
        """Lower the level if logging is not configured, and watch for the program to do so."""
        root = logging.getLogger()
        untouched = not [handler for handler in root.handlers if handler not in self._own]
        if untouched and root.level == logging.WARNING and level < root.level:
            self._before = root.level
            logging.Logger.setLevel(root, level)
        logging.basicConfig = self._basic_config
        # Only this logger's methods are patched: `logging.config` and programs call them.
        vars(root).update(setLevel=self._set_level, addHandler=self._add_handler)

    def restore(self) -> None:
        """Restore the level, if it was lowered."""
        if self._before is not None:
            before, self._before = self._before, None
            logging.Logger.setLevel(logging.getLogger(), before)

    def forget(self) -> None:
        """Stop watching, for tests."""
        self._before = None
        root = logging.getLogger()
        for name in ("setLevel", "addHandler"):
            vars(root).pop(name, None)
        logging.basicConfig = _basic_config

    def _set_level(self, level: int | str) -> None:
        self._before = None
        logging.Logger.setLevel(logging.getLogger(), level)

    def _add_handler(self, hdlr: logging.Handler) -> None:
        if hdlr not in self._own:
            self.restore()
        logging.Logger.addHandler(logging.getLogger(), hdlr)

    def _basic_config(self, **options: Any) -> None:
        """Call `logging.basicConfig`, which is a no-op if the root logger has handlers.

        Flowspan's handlers are removed during the call, so a program may configure its logging
        after its first run, as it could without flowspan.
        """
        root = logging.getLogger()
        own = [handler for handler in root.handlers if handler in self._own]
        for handler in own:
            root.removeHandler(handler)
        try:
            _basic_config(**options)
        finally:
            for handler in own:
                root.addHandler(handler)
