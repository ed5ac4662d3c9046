"""Entry point of the `flowspan` program.

Signal handlers are installed before the large imports, so that Ctrl-C during start-up ends the
program without a traceback.
"""

from __future__ import annotations

import contextlib
import sys

from flowspan.cli import serve, signals, streams
from flowspan.exceptions import ConfigError


def main() -> None:
    """Run the command given in `sys.argv` and exit."""
    signals.end_at_once()
    streams.prepare()
    if tuple(sys.argv[1:3]) == serve.COMMAND:
        with contextlib.suppress(ConfigError):  # the command reports it itself
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
        signals.end(signal_)  # the signal arrived just before or after the command
