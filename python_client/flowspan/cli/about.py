"""`flowspan version` and `flowspan config show`."""

from __future__ import annotations

import dataclasses
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import typer  # noqa: TC002 - typer reads the annotations

from flowspan.cli import options  # noqa: TC001 - as above
from flowspan.cli.session import session
from flowspan.config import get_config, variables_of
from flowspan.profiles import SETTINGS


def version(ctx: typer.Context, *, json: options.Json = False) -> None:
    """Show the version of flowspan.

    Try:

        flowspan version --json | jq -r .version
    """
    this = session(ctx)
    number = metadata.version("flowspan")
    if json:
        this.print_json({"version": number, "python": platform.python_version()})
    else:
        this.print(f"flowspan {number} (Python {platform.python_version()}, {platform.system()})")


def show_config(ctx: typer.Context, *, json: options.Json = False) -> None:
    """Show the settings and the source of each.

    The source is an environment variable, the current profile (chosen with
    `flowspan profile use`) or the default.

    Try:

        FLOWSPAN_HOME=/srv/flowspan flowspan config show
    """
    this = session(ctx)
    config = get_config()
    settings = {
        field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config)
    }
    if config.token is not None:
        settings["token"] = "…"  # noqa: S105 - in place of it
    if json:
        this.print_json(settings)
        return
    rows = []
    for name, value in settings.items():
        variables = variables_of(name)
        given = [variable for variable in variables if os.environ.get(variable, "").strip()]
        variable = given[0] if given else variables[0]
        source = "environment" if given else "default"
        if not given and config.profile and name in SETTINGS and value is not None:
            source = f"profile {config.profile}"
        elif not given and name == "profile" and config.profile:
            source = "profile use"
        rows.append((variable, _as_set(value), source))
    this.print_table(("VARIABLE", "VALUE", "SOURCE"), rows)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _as_set(value: Any) -> str:
    """Return a setting in the notation of its environment variable."""
    if value is None or value in ((), ""):
        return "-"
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
