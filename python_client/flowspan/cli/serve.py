"""`flowspan server start`: this process becomes the service.

This module imports little, for the service is to be ready soon: `flowspan.cli.entry` comes here
before it would load what the other commands need.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

from flowspan.home import find_home

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMAND = ("server", "start")


def become_service(arguments: Sequence[str]) -> NoReturn:
    """Replace this program by the service, so that signals and the terminal are its own.

    Args:
        arguments: Its flags. It reads them itself, `--help` among them: they are its settings.

    Raises:
        ConfigError: There is no home, or FLOWSPAN_HOME cannot be understood.
    """
    command = [sys.executable, "-m", "flowspan_service", *arguments]
    sys.stdout.flush()
    if not any(each.partition("=")[0] in {"--home", "--help", "-h"} for each in arguments):
        # Where flows look for it, also where there is no home directory.
        os.environ["FLOWSPAN_HOME"] = str(find_home(os.environ))
    os.execv(command[0], command)  # noqa: S606 - our own interpreter and module
