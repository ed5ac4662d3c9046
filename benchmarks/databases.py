"""The databases to measure with."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class NoDatabaseError(Exception):
    """There is no such database on this machine; the message says why."""


@contextlib.contextmanager
def databases(name: str) -> Iterator[Callable[[], contextlib.AbstractContextManager[str | None]]]:
    """Gives a function that makes an empty database, as a context with its URL.

    Args:
        name: "sqlite" (the URL is None: it lies in the service's own folder) or "postgresql" (a
            real server, started here).

    Raises:
        NoDatabaseError: There is none.
    """
    if name == "sqlite":
        yield contextlib.nullcontext
        return
    # Only here: it needs the PostgreSQL that the tests use.
    from tests.support.postgres import NoPostgresError, running_postgres  # noqa: PLC0415

    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(running_postgres())
        except NoPostgresError as error:
            raise NoDatabaseError(str(error)) from None
        yield server.new_database
