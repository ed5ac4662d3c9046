"""Commands print clean text without any cleaning of their own."""

from __future__ import annotations

import ast
import contextlib
import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import typer
from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

import flowspan.cli
from flowspan.cli import main
from flowspan.cli.output import CleanConsole, CleanStream, cleaned, make_console
from flowspan.cli.session import CommandError, session

BAD = "a\x1b[31mb\x07\u202e"
GOOD = "ab"
MODULES = sorted(Path(flowspan.cli.__file__).parent.glob("*.py"))


def a_new_command(ctx: typer.Context, how: str) -> None:
    """Print run data in one of the ways that a command could use."""
    ways = {
        "print": lambda: print(BAD),  # noqa: T201 - the subject of the test
        "echo": lambda: typer.echo(BAD),
        "secho": lambda: typer.secho(BAD, err=True),
        "stdout": lambda: sys.stdout.write(BAD),
        "stderr": lambda: sys.stderr.write(BAD),
        "console": lambda: Console().print(BAD),
        "rich": lambda: Console(file=sys.stdout, force_terminal=True).print(Text(BAD)),
        "session": lambda: session(ctx).print(BAD),
        "parts": lambda: session(ctx).print_parts((BAD, "red")),
        "table": lambda: session(ctx).print_table(("A",), [(BAD,), (Text(BAD),)]),
        "err": lambda: session(ctx).err.print(BAD),
    }
    if how == "error":
        raise CommandError(BAD, advice=BAD)
    if how == "usage":
        raise typer.BadParameter(BAD)
    ways[how]()


@pytest.mark.parametrize(
    "how",
    [
        *("print", "echo", "secho", "stdout", "stderr", "console", "rich", "session", "parts"),
        *("table", "err", "error", "usage"),
    ],
)
@pytest.mark.parametrize("cls", [main._Command, None])
def test_a_new_command_cannot_forget(how: str, cls: type | None) -> None:
    app = typer.Typer(cls=main._Commands)
    app.command("new", cls=cls)(a_new_command)
    app.callback()(lambda: None)
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit):
        app(["new", how])
    printed = out.getvalue() + err.getvalue()
    assert GOOD in printed
    assert not {"\x1b", "\x07", "\u202e"} & set(printed)


def test_the_streams_are_given_back() -> None:
    before = sys.stdout, sys.stderr
    with contextlib.suppress(ValueError), cleaned():
        assert isinstance(sys.stdout, CleanStream)
        with cleaned():  # Not cleaned twice.
            assert not isinstance(sys.stdout.raw, CleanStream)
        raise ValueError
    assert (sys.stdout, sys.stderr) == before


def test_a_clean_stream_takes_no_bytes() -> None:
    assert not hasattr(CleanStream(io.TextIOWrapper(io.BytesIO())), "buffer")


def on_terminal(*renderables: object) -> str:
    file = io.StringIO()
    console = CleanConsole(file=file, force_terminal=True, width=40, color_system="standard")
    for renderable in renderables:
        console.print(renderable)
    return file.getvalue()


def test_a_console_colours_by_itself_and_cleans_what_it_is_given() -> None:
    table = Table("h")
    table.add_row(BAD)
    printed = on_terminal(
        BAD, Text(BAD, "bold red"), Panel(BAD), table, Text("x\ry\b\x9b2J", "green"), "[red]m[/]"
    )
    assert "\x1b[1;31mab\x1b[0m" in printed
    assert "[red]m[/]" in printed
    for own in ("\x1b[1;31m", "\x1b[32m", "\x1b[1m", "\x1b[0m"):
        printed = printed.replace(own, "")
    assert not {"\x1b", "\x07", "\u202e", "\x9b", "\b", "\r"} & set(printed)


def test_what_a_live_display_draws_is_cleaned() -> None:
    file = io.StringIO()
    console = CleanConsole(file=file, force_terminal=True, width=40)
    with Live(BAD, console=console, auto_refresh=False):
        console.print(BAD)
    assert "\x1b[31m" not in file.getvalue()
    assert "\u202e" not in file.getvalue()
    assert "ab" in file.getvalue()


def test_consoles_write_past_the_cleaned_streams() -> None:
    with cleaned():
        assert not isinstance(make_console().file, CleanStream)
        assert not isinstance(make_console(stderr=True).file, CleanStream)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_no_other_module_makes_a_console_or_writes_bytes(path: Path) -> None:
    """The exception is the live view's thread, whose terminal output belongs to the program."""
    tree = ast.parse(path.read_text())
    names = {node.func.id for node in ast.walk(tree) if _is_plain_call(node)}
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    if path.stem != "output":
        assert "Console" not in names
    assert not {"buffer", "__stdout__", "__stderr__"} & attributes


def _is_plain_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_times_and_durations_are_written_in_one_module(path: Path) -> None:
    tree = ast.parse(path.read_text())
    calls = {
        node.func.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    allowed = {"format": calls, "json_output": {"isoformat"}}.get(path.stem, set())
    if path.stem in {"tree", "server"}:
        allowed = {"total_seconds"}  # They calculate with it.
    assert not calls & {"strftime", "isoformat", "total_seconds", "ctime"} - allowed
    for node in ast.walk(tree):
        if isinstance(node, ast.FormattedValue) and node.format_spec is not None:
            assert "%" not in ast.unparse(node.format_spec) or path.stem == "format"
