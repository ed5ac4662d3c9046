"""Databases for benchmarks."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class NoDatabaseError(Exception):
    """The database is not available on this machine; the message has the reason."""


@contextlib.contextmanager
def databases(name: str) -> Iterator[Callable[[], contextlib.AbstractContextManager[str | None]]]:
    """Give a function that returns a context manager for an empty database and its URL.

    Args:
        name: "sqlite" (the URL is None: the file is in the service's own folder) or "postgresql"
            (a real server, started here).

    Raises:
        NoDatabaseError: The database is not available.
    """
    if name == "sqlite":
        yield contextlib.nullcontext
        return
    # Imported here, because it needs the PostgreSQL that the tests use.
    from tests.support.postgres import NoPostgresError, running_postgres  # noqa: PLC0415

    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(running_postgres())
        except NoPostgresError as error:
            raise NoDatabaseError(str(error)) from None
        yield server.new_database
