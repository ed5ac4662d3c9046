"""The file in which earlier versions stored the position up to which spans were exported."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class OldWatermark:
    """The position that an earlier version left in its home. Now a row stores it for all processes.

    Args:
        path: The file; None if there is no home.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def load(self) -> int | None:
        """Return the position, or None if there is no file."""
        if self._path is None:
            return None
        try:
            return int(self._path.read_text())
        except (OSError, ValueError):
            return None

    def remove(self) -> None:
        """Remove the file, once the row holds its position.

        Raises:
            OSError: The file could not be removed.
        """
        if self._path is not None:
            self._path.unlink(missing_ok=True)
