"""Errors that end the service before it serves; each message says what to do."""

from __future__ import annotations

EXIT_LOCKED, EXIT_ADDRESS, EXIT_DATABASE = 3, 4, 5


class StartError(Exception):
    """The service cannot start.

    Attributes:
        exit_code: The exit code of the process.
    """

    exit_code = EXIT_DATABASE


class HomeError(StartError):
    """The home cannot be created."""


class DatabaseLockError(StartError):
    """The lock of a database cannot be taken."""


class ListenError(StartError):
    """The service cannot listen on an address."""

    exit_code = EXIT_ADDRESS
