"""The `flowspan` program: the table of all commands."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from flowspan.cli import (
    about,
    artifacts,
    failures,
    flows,
    migrate,
    profiles,
    run_changes,
    run_logs,
    run_watch,
    runs,
    server,
    spool,
    tokens,
    trace_links,
    variables,
)
from flowspan.cli.output import cleaned, uncleaned
from flowspan.cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class _BareFlags:
    """Mixin that shows flags without a value in the help: `--json`, not `--json <bool>`."""

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc] # defined by the other base
        for param in params:
            if getattr(param, "is_flag", False) and param.metavar is None:
                param.metavar = ""
        return params

    def format_help(self, ctx: Any, formatter: Any) -> None:
        with uncleaned():
            super().format_help(ctx, formatter)  # type: ignore[misc] # as above


class _Command(_BareFlags, TyperCommand):
    """A single command."""


class _Group(_BareFlags, TyperGroup):
    """A group of commands."""


class _Commands(_Group):
    """The root command. Turns exceptions into messages and exit codes."""

    def main(  # type: ignore[override] # always ends with SystemExit
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **options: Any
    ) -> NoReturn:
        given = sys.argv[1:] if args is None else list(args)
        options["standalone_mode"] = False  # errors are raised, and exit codes returned

        def run() -> Any:
            failures.check_arguments(given)
            return super(_Commands, self).main(given, prog_name, **options)

        with cleaned():
            raise SystemExit(failures.exit_code_of(run, shows_traceback="--traceback" in given))

    def invoke(self, ctx: Any) -> Any:
        this = Session()
        ctx.obj = this
        try:
            return super().invoke(ctx)
        finally:
            this.close()


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
            help="Address of the service, or unix:/path. Defaults to FLOWSPAN_ADDRESS, then to "
            "the local service.",
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
    traceback: Annotated[
        bool,
        typer.Option("--traceback", help="Show the traceback of an unexpected error."),
    ] = False,
) -> None:
    """Run, inspect and manage flows and the flowspan service."""
    del traceback  # read in _Commands.main
    ctx.ensure_object(Session).address = address


_server = typer.Typer(cls=_Group, help="Start, stop and inspect the service.", no_args_is_help=True)
# The service itself parses the arguments of `server start`, including --help.
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
        "List, inspect, watch, label and cancel flow runs.",
        ls=runs.list_runs,
        show=runs.show_run,
        logs=run_logs.show_logs,
        watch=run_watch.watch_run,
        history=runs.show_history,
        open=trace_links.open_run,
        label=run_changes.label_run,
        cancel=run_changes.cancel_run,
        delete=run_changes.delete_run,
    ),
    name="run",
)
app.add_typer(
    _group("List and inspect task runs.", ls=runs.list_task_runs, show=runs.show_run), name="task"
)
app.add_typer(_group("List flows.", ls=flows.list_flows), name="flow")
app.add_typer(
    _group(
        "List, inspect and delete artifacts (tables, text, links, images, progress).",
        ls=artifacts.list_artifacts,
        inspect=artifacts.inspect_artifact,
        delete=artifacts.delete_artifact,
    ),
    name="artifact",
)
app.add_typer(
    _group(
        "Manage variables: named values shared by flows and users.",
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
        "List and send spooled events that could not be reported.",
        ls=spool.list_spools,
        push=spool.push_spools,
    ),
    name="spool",
)
app.add_typer(
    _group(
        "Create, list and revoke access tokens of the service.",
        create=tokens.create_token,
        ls=tokens.list_tokens,
        revoke=tokens.revoke_token,
    ),
    name="token",
)
app.add_typer(
    _group(
        "List, choose and change profiles: named connections to services.",
        ls=profiles.list_profiles,
        use=profiles.use_profile,
        set=profiles.set_profile,
    ),
    name="profile",
)
app.add_typer(_group("Show the configuration.", show=about.show_config), name="config")
app.command("migrate", cls=_Command)(migrate.migrate)
app.command("version", cls=_Command)(about.version)
