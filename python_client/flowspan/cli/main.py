"""The program: every command in one table, and what becomes of errors.

Exit codes: 0 done; 1 it failed, was refused or there is no such thing; 2 the command line is wrong;
130 interrupted with Ctrl-C.
"""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from flowspan.cli import (
    about,
    artifacts,
    flows,
    run_changes,
    run_logs,
    run_watch,
    runs,
    server,
    spool,
    variables,
)
from flowspan.cli.output import cleaned, make_console, uncleaned
from flowspan.cli.safe_text import clean
from flowspan.cli.session import Session, stop_writing
from flowspan.exceptions import FlowspanError

if TYPE_CHECKING:
    from collections.abc import Callable

_INTERRUPTED = 130


class _BareFlags:
    """What takes no value is shown without one in the help: not `--json <bool>`."""

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc] # that of the class beside
        for param in params:
            if getattr(param, "is_flag", False) and param.metavar is None:
                param.metavar = ""
        return params

    def format_help(self, ctx: Any, formatter: Any) -> None:
        with uncleaned():
            super().format_help(ctx, formatter)  # type: ignore[misc] # as above


class _Command(_BareFlags, TyperCommand):
    """A command."""


class _Group(_BareFlags, TyperGroup):
    """Commands below one name."""


class _Commands(_Group):
    """The program's commands: turns what they raise into messages and exit codes."""

    def invoke(self, ctx: Any) -> Any:
        this = Session()
        ctx.obj = this
        try:
            with cleaned():
                result = super().invoke(ctx)
            sys.stdout.flush()  # here, where it is known what to do when nobody reads it
            return result
        except typer.BadParameter as error:
            error.message = clean(error.message)  # typer prints it
            raise
        except FlowspanError as error:
            _report(error)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            raise typer.Exit(_INTERRUPTED) from None
        except BrokenPipeError:
            stop_writing()
        finally:
            this.close()


def _report(error: FlowspanError) -> None:
    console = make_console(stderr=True)
    console.print("Error:", style="bold red", end=" ")
    console.print(str(error), soft_wrap=True)
    advice = getattr(error, "advice", "")
    if advice:
        console.print(advice, soft_wrap=True)


def _group(description: str, **commands: Callable[..., None]) -> typer.Typer:
    group = typer.Typer(cls=_Group, help=description, no_args_is_help=True)
    for name, command in commands.items():
        group.command(name, cls=_Command)(command)
    return group


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(ctx: typer.Context, is_wanted: bool) -> None:  # noqa: FBT001 - typer calls it
    if is_wanted:
        about.version(ctx)
        raise typer.Exit


@app.callback()
def _options(
    ctx: typer.Context,
    *,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="HOST:PORT",
            help="The service to talk to, also unix:/path; FLOWSPAN_ADDRESS if not given, and "
            "without either the local one.",
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Flows, their runs and the service that keeps them."""
    ctx.ensure_object(Session).address = address


_server = typer.Typer(cls=_Group, help="The service that keeps the runs.", no_args_is_help=True)
# What follows `server start` is for the service to read, and to explain with --help.
_server.command(
    "start",
    cls=_Command,
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(server.start)
_server.command("status", cls=_Command)(server.status)
_server.command("stop", cls=_Command)(server.stop)
app.add_typer(_server, name="server")
app.add_typer(
    _group(
        "Runs of flows: what happened, and what is happening.",
        ls=runs.list_runs,
        show=runs.show_run,
        logs=run_logs.show_logs,
        watch=run_watch.watch_run,
        history=runs.show_history,
        cancel=run_changes.cancel_run,
        delete=run_changes.delete_run,
    ),
    name="run",
)
app.add_typer(_group("Runs of tasks.", ls=runs.list_task_runs, show=runs.show_run), name="task")
app.add_typer(_group("Flows, as opposed to their runs.", ls=flows.list_flows), name="flow")
app.add_typer(
    _group(
        "What runs show: tables, texts, links, images, progress.",
        ls=artifacts.list_artifacts,
        inspect=artifacts.inspect_artifact,
        delete=artifacts.delete_artifact,
    ),
    name="artifact",
)
app.add_typer(
    _group(
        "Named values that flows and people share.",
        ls=variables.list_variables,
        get=variables.get_variable,
        set=variables.set_variable,
        unset=variables.unset_variable,
        inspect=variables.inspect_variable,
    ),
    name="variable",
)
app.add_typer(
    _group(
        "What flows could not report while the service was away.",
        ls=spool.list_spools,
        push=spool.push_spools,
    ),
    name="spool",
)
app.add_typer(_group("Settings.", show=about.show_config), name="config")
app.command("version", cls=_Command)(about.version)


def main() -> None:
    """Runs the command that the program was called with."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # where the terminal cannot show it, "?"
            stream.reconfigure(errors="replace")
    app(prog_name="flowspan")
