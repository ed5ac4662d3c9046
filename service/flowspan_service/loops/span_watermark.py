"""Up to where the spans of ended runs have been exported, in a small file."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Watermark:
    """A position in the order of transitions, kept over restarts.

    The file is replaced as a whole, so that it survives the death of the process. It is not synced
    to the disk: after a power failure it may be old or gone, and then more is exported again.

    Args:
        path: The file; None keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def load(self) -> int | None:
        """The position, or None if it is not known."""
        if self._path is None:
            return None
        try:
            return int(self._path.read_text())
        except (OSError, ValueError):
            return None

    def save(self, position: int) -> None:
        """Writes it.

        Raises:
            OSError: The file could not be written.
        """
        if self._path is None:
            return
        draft = self._path.with_name(self._path.name + ".new")
        draft.write_text(f"{position}\n")
        draft.replace(self._path)
