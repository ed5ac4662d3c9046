"""The progress of a database."""

from __future__ import annotations

from typing import NamedTuple


class Heads(NamedTuple):
    """The last positions given out: the progress of a database."""

    position: int
    log_position: int
