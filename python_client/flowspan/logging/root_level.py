"""Lowering the level of the root logger without standing in the way of the program's logging.

Python's root logger lets warnings through alone, and so would the program's loggers inside of runs.
Where nobody has set logging up, nothing but flowspan's handlers hears of what a lower level lets
through. As soon as the program adds a handler or sets a level, the level is what it was.
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
        own: Flowspan's handlers, which do not count.
    """

    def __init__(self, own: Sequence[logging.Handler]) -> None:
        self._own = own
        self._before: int | None = None
        """The level before it was lowered; None if it was not."""

    def lower(self, level: int) -> None:
        """Lower the level, if nobody has set logging up, and watch for the program to do so."""
        root = logging.getLogger()
        untouched = not [handler for handler in root.handlers if handler not in self._own]
        if untouched and root.level == logging.WARNING and level < root.level:
            self._before = root.level
            logging.Logger.setLevel(root, level)
        logging.basicConfig = self._basic_config
        # On this one logger: `logging.config` and programs call its methods.
        vars(root).update(setLevel=self._set_level, addHandler=self._add_handler)

    def restore(self) -> None:
        """Set the level to what it was, if it was lowered."""
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
        """Call `logging.basicConfig`, which does nothing where the root logger has handlers.

        Flowspan's do not count. So a program may set its logging up after its first run, as it
        could without flowspan.
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
