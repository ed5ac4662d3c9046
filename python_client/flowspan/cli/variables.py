"""`flowspan variable ls`, `get`, `set`, `unset` and `inspect`."""

from __future__ import annotations

import json as json_module
import math
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from flowspan.cli import format as fmt
from flowspan.cli import json_output, options
from flowspan.cli.session import CommandError, session
from flowspan.exceptions import ObjectAlreadyExists

if TYPE_CHECKING:
    from flowspan.api.client import SyncFlowspanClient
    from flowspan.api.models import Variable

_PAGE_SIZE = 1000
_SHOWN_CHARACTERS = 100

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="Name of the variable.",
        show_default=False,
        callback=options.refuse_blank,
    ),
]
Tags = Annotated[
    list[str] | None,
    typer.Option(
        "--tag",
        "-t",
        metavar="TAG",
        help="Tag. Repeatable.",
        callback=options.refuse_blank,
    ),
]


def list_variables(
    ctx: typer.Context,
    *,
    prefix: Annotated[
        str | None,
        typer.Option(
            "--prefix",
            metavar="TEXT",
            help="Filter by prefix of the name.",
            callback=options.refuse_blank,
        ),
    ] = None,
    tag: Tags = None,
    limit: options.Limit = 0,
    json: options.Json = False,
) -> None:
    """List variables, by name.

    Try:

        flowspan variable ls --prefix limit_
    """
    this = session(ctx)
    found = this.client().read_variables(
        name_prefix=prefix or "", tags=tag or (), page_size=_PAGE_SIZE
    )
    listed = islice(found, limit or None)
    if json:
        for variable in listed:
            this.print_json(json_output.record(variable))
        return
    rows = list(listed)
    if not rows:
        this.print("No variables.")
        return
    is_tagged = any(each.tags for each in rows)
    this.print_table(
        ("NAME", "VALUE", "UPDATED", *(("TAGS",) if is_tagged else ())),
        (
            (
                each.name,
                json_output.line(each.value.json()),
                fmt.ago(each.updated_at, now=this.now),
                *((", ".join(each.tags),) if is_tagged else ()),
            )
            for each in rows
        ),
    )
    if limit and next(found, None) is not None:
        this.print(Text(f"… and more. Use --limit {limit * 5}, or --limit 0 for all.", style="dim"))


def get_variable(ctx: typer.Context, name: Name, *, json: options.Json = False) -> None:
    """Print the value of a variable.

    A string is printed without control characters, any other value as JSON. With
    --json, the output is exact.

    Try:

        flowspan variable get limit_per_day
    """
    this = session(ctx)
    value = _find(this.client(), name).value.json()
    if json or not isinstance(value, str):
        this.print_json(value)
    else:
        this.print(value)


def set_variable(
    ctx: typer.Context,
    name: Name,
    value: Annotated[
        str,
        typer.Argument(
            metavar="VALUE",
            help="JSON value. Anything else is stored as a string. Use -- before a leading dash.",
            show_default=False,
        ),
    ],
    *,
    text: Annotated[
        bool, typer.Option("--text", help="Store the value as a string, even if it is valid JSON.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the variable if it exists.")
    ] = False,
    tag: Tags = None,
    json: options.Json = False,
) -> None:
    """Set a variable.

    Try:

        flowspan variable set limit_per_day 500

        flowspan variable set regions '["eu", "us"]' --overwrite

        flowspan variable set offset -- -3
    """
    this = session(ctx)
    parsed: Any = value if text else _parsed(value)
    try:
        stored = this.client().set_variable(name, parsed, tags=tag or (), overwrite=overwrite)
    except (TypeError, ValueError) as error:
        raise typer.BadParameter(f"cannot store the value: {error}", param_hint="VALUE") from None
    except ObjectAlreadyExists:
        raise CommandError(
            f"variable {name!r} already exists", advice="Use --overwrite to replace it."
        ) from None
    if json:
        this.print_json(json_output.record(stored))
    else:
        this.print(f"{stored.name} is {_shortened(json_output.line(stored.value.json()))}.")


def unset_variable(ctx: typer.Context, name: Name, *, json: options.Json = False) -> None:
    """Delete a variable.

    Try:

        flowspan variable unset limit_per_day
    """
    this = session(ctx)
    if not this.client().delete_variable_by_name(name):
        raise _missing(name)
    if json:
        this.print_json({"name": name, "deleted": True})
    else:
        this.print(f"Deleted {name}.")


def inspect_variable(ctx: typer.Context, name: Name, *, json: options.Json = False) -> None:
    """Show a variable with its tags and timestamps.

    Try:

        flowspan variable inspect limit_per_day
    """
    this = session(ctx)
    found = _find(this.client(), name)
    if json:
        this.print_json(json_output.record(found))
        return
    this.print(Text(found.name, style="bold"))
    fields = {
        "tags": ", ".join(found.tags),
        "created": f"{fmt.stamp(found.created_at)} ({fmt.ago(found.created_at, now=this.now)})",
        "updated": ""
        if found.updated_at == found.created_at
        else f"{fmt.stamp(found.updated_at)} ({fmt.ago(found.updated_at, now=this.now)})",
    }
    for label, value in fields.items():
        if value:
            this.print(Text.assemble((f"  {label:<12}", "dim"), fmt.visible(value)))
    this.print()
    this.print(json_output.pretty(found.value.json()))


def _find(client: SyncFlowspanClient, name: str) -> Variable:
    found = client.read_variable_by_name(name)
    if found is None:
        raise _missing(name)
    return found


def _missing(name: str) -> CommandError:
    return CommandError(
        f"there is no variable {name!r}",
        advice="List the variables with `flowspan variable ls`.",
    )


def _parsed(text: str) -> Any:
    try:
        return json_module.loads(text, parse_constant=_no_json, parse_float=_finite)
    except ValueError:
        return text
    except RecursionError:
        raise typer.BadParameter("the value is nested too deeply", param_hint="VALUE") from None


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise typer.BadParameter(
            f"{digits} is too large for a number. Use --text to store it as a string",
            param_hint="VALUE",
        )
    return number


def _no_json(constant: str) -> None:
    raise ValueError(constant)


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
