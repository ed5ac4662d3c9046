"""`flowspan profile ls`, `profile use` and `profile set`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowspan.cli import options
from flowspan.cli.session import CommandError, session
from flowspan.config import split_address
from flowspan.home import find_home
from flowspan.profiles import LOCAL, SETTINGS, read_profiles, write_profiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="Name of the profile.",
        show_default=False,
        callback=options.refuse_blank,
    ),
]


def _path(name: str, help_text: str) -> Any:
    """Return an option for a path. It is a text, as a blank Path would be the current folder."""
    return typer.Option(name, metavar="<path>", help=help_text, callback=options.refuse_blank)


_Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="HOST:PORT",
        help="Address of the service.",
        callback=options.refuse_blank,
    ),
]
_TokenFile = Annotated[str | None, _path("--token-file", "File with the access token.")]
_Tls = Annotated[bool | None, typer.Option("--tls/--no-tls", help="Reach the service over TLS.")]
_TlsCa = Annotated[str | None, _path("--tls-ca", "Authorities of the service's certificate (PEM).")]
_TlsClientCert = Annotated[
    str | None, _path("--tls-client-cert", "Certificate of this client (PEM).")
]
_TlsClientKey = Annotated[str | None, _path("--tls-client-key", "Its private key.")]
_TlsServerName = Annotated[
    str | None,
    typer.Option(
        "--tls-server-name",
        metavar="NAME",
        help="Name in the certificate.",
        callback=options.refuse_blank,
    ),
]
_Unset = Annotated[
    list[str] | None,
    typer.Option(
        "--unset",
        metavar="SETTING",
        help="Remove a setting: token-file, tls-ca, …",
        callback=options.refuse_blank,
    ),
]


def list_profiles(ctx: typer.Context, *, json: options.Json = False) -> None:
    """List the profiles; the one in use is marked with an asterisk.

    A profile is a connection to a service: its address, the file of the access
    token, TLS. The environment takes precedence: with FLOWSPAN_ADDRESS, no
    profile is used, and FLOWSPAN_PROFILE chooses another one.

    Try:

        flowspan profile ls --json | jq -r 'select(.current) | .name'
    """
    this = session(ctx)
    profiles = read_profiles(find_home(os.environ))
    current = os.environ.get("FLOWSPAN_PROFILE", "").strip() or profiles.current
    names = [LOCAL, *sorted(set(profiles.by_name) - {LOCAL})]
    if json:
        for name in names:
            settings = profiles.by_name.get(name, {})
            this.print_json(
                {
                    "name": name,
                    "current": name == current,
                    **{key: _plain(key, settings.get(key)) for key in SETTINGS},
                }
            )
        return
    this.print_table(
        ("", "NAME", "ADDRESS", "TLS", "TOKEN FILE"),
        (_row(name, profiles.by_name.get(name, {}), is_current=name == current) for name in names),
    )


def use_profile(ctx: typer.Context, name: Name, *, json: options.Json = False) -> None:
    """Use a profile from now on, for flows and commands of this home.

    Use the profile "local" to return to the local service.

    Try:

        flowspan profile use production
    """
    this = session(ctx)
    home = find_home(os.environ)
    profiles = read_profiles(home)
    if name != LOCAL and name not in profiles.by_name:
        raise CommandError(
            f"there is no profile {name!r}",
            advice=f"List the profiles with `flowspan profile ls`, or create it with "
            f"`flowspan profile set {name} --address HOST:PORT`.",
        )
    profiles.current = name
    write_profiles(home, profiles)
    if json:
        this.print_json({"name": name, "current": True})
    else:
        this.print(f"Flows and commands use the profile {name} now.")


def set_profile(
    ctx: typer.Context,
    name: Name,
    *,
    address: _Address = None,
    token_file: _TokenFile = None,
    tls: _Tls = None,
    tls_ca: _TlsCa = None,
    tls_client_cert: _TlsClientCert = None,
    tls_client_key: _TlsClientKey = None,
    tls_server_name: _TlsServerName = None,
    unset: _Unset = None,
    json: options.Json = False,
) -> None:
    """Create or change a profile. Settings that are not named stay.

    Try:

        flowspan profile set production --address flows.example.com:4600 --tls --token-file ~/.flowspan-token

        flowspan profile use production
    """  # noqa: E501 - a command to copy
    this = session(ctx)
    if name == LOCAL:
        raise CommandError(
            f"the profile {LOCAL!r} is the local service and has no settings",
            advice="Choose another name.",
        )
    given = {
        "address": None if address is None else _checked_address(address),
        "token_file": _absolute(token_file),
        "tls": None if tls is None else str(tls).lower(),
        "tls_ca": _absolute(tls_ca),
        "tls_client_cert": _absolute(tls_client_cert),
        "tls_client_key": _absolute(tls_client_key),
        "tls_server_name": tls_server_name,
    }
    settings = _change(
        name,
        {key: value for key, value in given.items() if value is not None},
        [_checked_setting(each) for each in unset or ()],
    )
    if json:
        this.print_json({"name": name, **{key: _plain(key, settings.get(key)) for key in SETTINGS}})
    else:
        this.print(f"Set the profile {name}. Use it with `flowspan profile use {name}`.")


def _change(name: str, given: Mapping[str, str], unset: Iterable[str]) -> dict[str, str]:
    """Store the changed settings of a profile, and return all of its settings."""
    home = find_home(os.environ)
    profiles = read_profiles(home)
    settings = {**profiles.by_name.get(name, {}), **given}
    for key in unset:
        settings.pop(key, None)
    if "address" not in settings:
        raise CommandError(
            f"the profile {name!r} has no address", advice="Add --address HOST:PORT."
        )
    profiles.by_name[name] = settings
    write_profiles(home, profiles)
    return settings


def _absolute(path: str | None) -> str | None:
    return None if path is None else str(Path(path).expanduser().absolute())


def _row(name: str, settings: Mapping[str, str], *, is_current: bool) -> tuple[str, ...]:
    is_tls = settings.get("tls") == "true" or (
        "tls" not in settings and any(key.startswith("tls_") for key in settings)
    )
    return (
        "*" if is_current else "",
        name,
        settings.get("address", "(the local service)"),
        "yes" if is_tls else "no",
        settings.get("token_file", ""),
    )


def _plain(key: str, value: str | None) -> Any:
    return value == "true" if key == "tls" and value is not None else value


def _checked_address(text: str) -> str:
    try:
        split_address(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: {error}", param_hint="--address") from None
    return text


def _checked_setting(text: str) -> str:
    key = text.strip().removeprefix("--").replace("-", "_")
    if key not in SETTINGS:
        known = ", ".join(each.replace("_", "-") for each in SETTINGS)
        raise typer.BadParameter(
            f"{text!r} is not a setting. Choose from {known}", param_hint="--unset"
        )
    return key
