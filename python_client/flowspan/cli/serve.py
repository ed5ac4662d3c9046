"""`flowspan server start`: replaces this process with the service.

The service must start quickly, so this module imports little. `flowspan.cli.entry` runs it
before loading the imports of the other commands.
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
    """Replace this program with the service, which then owns the signals and the terminal.

    Args:
        arguments: Flags of the service, including `--help`. The service parses them.

    Raises:
        ConfigError: No home directory was found, or FLOWSPAN_HOME is invalid.
    """
    command = [sys.executable, "-m", "flowspan_service", *arguments]
    sys.stdout.flush()
    if not any(each.partition("=")[0] in {"--home", "--help", "-h"} for each in arguments):
        # Use the home that flows look in, even if the user has no home directory.
        os.environ["FLOWSPAN_HOME"] = str(find_home(os.environ))
    os.execv(command[0], command)  # noqa: S606 - our own interpreter and module
