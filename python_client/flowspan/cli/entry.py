"""The entry point of the program `flowspan`.

It prepares the process before anything large is imported, so that a signal during the imports ends
the program without a traceback as well.
"""

from __future__ import annotations

import contextlib
import sys

from flowspan.cli import serve, signals, streams
from flowspan.exceptions import ConfigError


def main() -> None:
    """Run the command that the program was called with, and end the process."""
    signals.end_at_once()
    streams.prepare()
    if tuple(sys.argv[1:3]) == serve.COMMAND:
        with contextlib.suppress(ConfigError):  # which the command says in its own way
            serve.become_service(sys.argv[3:])
    from flowspan.cli.main import app  # noqa: PLC0415 - see above

    try:
        try:
            signals.raise_in_command()
            app(prog_name="flowspan")
        finally:
            signals.end_at_once()
            if streams.broken_output() is not None:
                streams.discard(sys.stdout)
    except (KeyboardInterrupt, signals.Terminated) as signal_:
        signals.end(signal_)  # it came just before or after the command
