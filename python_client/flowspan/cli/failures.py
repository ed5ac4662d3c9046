"""Error reporting: an exception becomes one line on standard error and an exit code.

Exit codes: 0 success; 1 failed, refused or not found; 2 usage error; 130 interrupted by Ctrl-C;
143 terminated by SIGTERM.
"""

from __future__ import annotations

import contextlib
import errno
import sys
import traceback
from typing import TYPE_CHECKING, Any

import typer

from flowspan.cli import streams
from flowspan.cli.output import make_console
from flowspan.cli.signals import INTERRUPTED, TERMINATED, Terminated
from flowspan.exceptions import FlowspanError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FAILED = 1

# Errors of writing to standard output. Errors of a file or folder carry its name as well.
_OUTPUT_ERRORS = frozenset(
    {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EBADF, errno.EIO}
)

# Newer releases of typer bundle their own click and do not export these classes.
_UsageError: Any = typer.BadParameter.__base__
_ClickException: Any = _UsageError.__base__


def exit_code_of(run: Callable[[], Any], *, shows_traceback: bool) -> int:
    """Run a command, report its error, and return the exit code.

    Args:
        run: The command. Returns its exit code, or None for success.
        shows_traceback: True to print the traceback of an unexpected error.
    """
    try:
        return _exit_code(run, shows_traceback=shows_traceback)
    except (KeyboardInterrupt, typer.Abort):
        _say("Interrupted.")
        return INTERRUPTED
    except Terminated:
        _say("Terminated.")
        return TERMINATED
    finally:
        with contextlib.suppress(AttributeError, ValueError):
            try:
                sys.stderr.flush()
            except OSError:
                streams.discard(sys.stderr)


def _exit_code(run: Callable[[], Any], *, shows_traceback: bool) -> int:
    out = sys.stdout
    try:
        try:
            code = run()
        finally:
            sys.stdout = out  # typer replaces it when the pipe is closed
        sys.stdout.flush()  # flush here, where a failure can still be handled
    except _ClickException as error:
        _report_usage(error)
        return int(error.exit_code)
    except FlowspanError as error:
        _report(str(error), advice=getattr(error, "advice", ""))
    except typer.Abort:
        raise
    except SystemExit as error:  # how the libraries exit when the pipe is closed
        if streams.broken_output() is not None:
            streams.discard(sys.stdout)
        return error.code if isinstance(error.code, int) else FAILED
    except OSError as error:
        _report_trouble(error, shows_traceback=shows_traceback)
    except Exception as error:  # noqa: BLE001 - tracebacks are shown only on request
        _report_unexpected(error, shows_traceback=shows_traceback)
    else:
        if code == INTERRUPTED:
            _say("Interrupted.")
        return code if isinstance(code, int) else 0
    return FAILED


def check_arguments(arguments: Sequence[str]) -> None:
    """Check that every argument is valid UTF-8, as the service and JSON require.

    Raises:
        UsageError (of typer): An argument is not valid UTF-8.
    """
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            shown = argument.encode(errors="surrogateescape").decode(errors="backslashreplace")
            raise _UsageError(f"the argument '{shown}' is not valid UTF-8") from None


def _report_trouble(error: OSError, *, shows_traceback: bool) -> None:
    """Report an OSError, either from standard output or from elsewhere."""
    is_of_output = streams.broken_output() is not None or (
        error.errno in _OUTPUT_ERRORS and error.filename is None
    )
    if not is_of_output:
        if error.strerror:
            where = f": {error.filename!r}" if error.filename else ""
            _report(f"{error.strerror}{where}")
        else:
            _report_unexpected(error, shows_traceback=shows_traceback)
        return
    streams.discard(sys.stdout)
    if not isinstance(error, BrokenPipeError):  # the reader, such as `head`, has closed the pipe
        _report(f"cannot write the output: {error.strerror}")


def _report_unexpected(error: Exception, *, shows_traceback: bool) -> None:
    if shows_traceback:
        _say("".join(traceback.format_exception(error)).rstrip())
    first = str(error).strip().partition("\n")[0]
    what = f"{type(error).__name__}: {first}" if first else type(error).__name__
    _report(
        f"unexpected {what}",
        advice="This is a bug. Please report it with the output of `flowspan --traceback …`.",
    )


def _report_usage(error: Any) -> None:
    if type(error).__name__ == "NoArgsIsHelpError":  # the help has been printed already
        return
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "flowspan"
    _report(error.format_message(), advice=f"See `{path} --help`.")


def _report(message: str, *, advice: str = "") -> None:
    with contextlib.suppress(OSError, ValueError):
        console = make_console(stderr=True)
        console.print("Error:", style="bold red", end=" ")
        console.print(message, soft_wrap=True)
        if advice:
            console.print(advice, soft_wrap=True)


def _say(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        make_console(stderr=True).print(line, soft_wrap=True)
