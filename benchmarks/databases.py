"""The databases to measure with."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def databases(name: str) -> Iterator[Callable[[], contextlib.AbstractContextManager[str | None]]]:
    """Gives a function that makes an empty database, as a context with its URL.

    Args:
        name: "sqlite" (the URL is None: it lies in the service's own folder) or "postgresql" (a
            real server, started here).
    """
    if name == "sqlite":
        yield contextlib.nullcontext
        return
    # Only here: it needs the PostgreSQL that the tests use.
    from tests.support.postgres import running_postgres  # noqa: PLC0415

    with running_postgres() as server:
        yield server.new_database
