"""`flowspan token create`, `token ls` and `token revoke`."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from flowspan.cli import format as fmt
from flowspan.cli import json_output, options
from flowspan.cli.session import CommandError, session
from flowspan.exceptions import ObjectAlreadyExists, ObjectNotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flowspan.api.token_models import Token
    from flowspan.cli.session import Session

_SCOPES = ("read", "report", "operate", "admin")
_PERIOD = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([smhdw])")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="Name of the token.",
        show_default=False,
        callback=options.refuse_blank,
    ),
]

Scopes = Annotated[
    list[str] | None,
    typer.Option(
        "--scope",
        "-s",
        metavar="SCOPE",
        help="read, report, operate or admin. Repeatable. Default: read and report, which "
        "flows need.",
        callback=options.refuse_blank,
    ),
]
Expiry = Annotated[
    str | None,
    typer.Option(
        "--expires",
        metavar="WHEN",
        help="Expiry: a period from now (12h, 90d), or a date and time. Default: never.",
        callback=options.refuse_blank,
    ),
]
SecretFile = Annotated[
    str | None,
    typer.Option(
        "--file",
        metavar="<path>",
        help="Write the secret into this file, which only you can read, and do not print it.",
        callback=options.refuse_blank,
    ),
]


def create_token(
    ctx: typer.Context,
    name: Name,
    *,
    scope: Scopes = None,
    expires: Expiry = None,
    max_calls: Annotated[
        float,
        typer.Option("--max-calls", metavar="N", min=0, help="Most calls per second; 0 for any."),
    ] = 0.0,
    max_bytes: Annotated[
        int,
        typer.Option(
            "--max-bytes",
            metavar="N",
            min=0,
            help="Most bytes of a request, at least 1024; 0 for any.",
        ),
    ] = 0,
    file: SecretFile = None,
    json: options.Json = False,
) -> None:
    """Create an access token and print its secret.

    The secret is shown only now: the service keeps a hash of it. With the first
    token, clients over TCP need one, also on the machine of the service. The
    Unix socket never needs one.

    The first token of a service is created on its machine, by its user.

    Try:

        flowspan token create nightly --expires 90d --file nightly.token

        flowspan token create me --scope admin
    """
    this = session(ctx)
    scopes = [_checked_scope(each) for each in scope or ("read", "report")]
    expires_at = _parsed_expiry(expires, now=this.now)
    with _written_to(file) as write:
        try:
            created = this.client(even_if_empty=True).create_token(
                name,
                scopes,
                expires_at=expires_at,
                max_calls_per_second=max_calls,
                max_request_bytes=max_bytes,
            )
        except ObjectAlreadyExists as error:
            raise CommandError(
                str(error),
                advice=f"Choose another name, or run `flowspan token revoke {name}` first.",
            ) from None
        write(created.secret)
    if json:
        shown = created.secret if file is None else None
        this.print_json({**json_output.record(created.token), "secret": shown})
    elif file is not None:
        this.print(f"Wrote the secret of {fmt.visible(name)} into {fmt.visible(file)}.")
    else:
        _show(this, name, created.secret)


def _show(this: Session, name: str, secret: str) -> None:
    this.print(secret, at_once=True)
    this.err.print(
        f"The secret of {fmt.visible(name)} is shown only now. Pass it to clients in "
        "FLOWSPAN_TOKEN, or in a file in FLOWSPAN_TOKEN_FILE.",
        style="dim",
        soft_wrap=True,
    )


@contextmanager
def _written_to(file: str | None) -> Iterator[Callable[[str], object]]:
    """Yield a function that writes the secret into a file, which only this user can read.

    The file is opened before the token is created: otherwise a token could exist whose secret is
    lost. An existing file is replaced at the end, and kept if anything fails.

    Raises:
        CommandError: The file cannot be written.
    """
    if file is None:
        yield lambda _: None
        return
    path = Path(file).expanduser()
    temporary = ""
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        with os.fdopen(handle, "w", encoding="ascii") as opened:
            yield lambda secret: opened.write(f"{secret}\n")
        os.replace(temporary, path)
    except OSError as error:
        raise CommandError(
            f"cannot write {fmt.visible(file)}: {error.strerror}", advice="Choose another file."
        ) from None
    finally:
        if temporary:
            with suppress(FileNotFoundError):
                os.unlink(temporary)


def list_tokens(
    ctx: typer.Context,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Include the tokens that are revoked or expired.")
    ] = False,
    json: options.Json = False,
) -> None:
    """List the access tokens, oldest first, without their secrets.

    Try:

        flowspan token ls --json | jq -r 'select(.last_used_at == null) | .name'
    """
    this = session(ctx)
    tokens = this.client().read_tokens(include_ended=everything)
    if json:
        for token in tokens:
            this.print_json(json_output.record(token))
        return
    if not tokens:
        this.print("No access tokens.")
        return
    this.print_table(
        ("NAME", "SCOPES", "CREATED", "LAST USED", "ENDS"), (_row(this, each) for each in tokens)
    )


def revoke_token(
    ctx: typer.Context,
    token: Annotated[
        str,
        typer.Argument(
            metavar="TOKEN",
            help="Name or id of the token.",
            show_default=False,
            callback=options.refuse_blank,
        ),
    ],
    *,
    json: options.Json = False,
) -> None:
    """Revoke an access token. Clients that are connected with it are cut off.

    Try:

        flowspan token revoke nightly
    """
    this = session(ctx)
    try:
        revoked = this.client().revoke_token(token)
    except ObjectNotFound:
        raise CommandError(
            f"there is no access token {token!r}",
            advice="List the tokens with `flowspan token ls`.",
        ) from None
    if json:
        this.print_json(json_output.record(revoked))
    else:
        this.print(f"Revoked {revoked.name}.")


def _row(this: Session, token: Token) -> tuple[str | Text, ...]:
    return (
        token.name,
        ", ".join(scope.name.lower() for scope in token.scopes),
        fmt.ago(token.created_at, now=this.now),
        fmt.ago(token.last_used_at, now=this.now) if token.last_used_at else "never",
        _end(token, now=this.now),
    )


def _end(token: Token, *, now: datetime) -> Text:
    if token.revoked_at is not None:
        return Text(f"revoked {fmt.ago(token.revoked_at, now=now)}", style="red")
    if token.expires_at is None:
        return Text("never")
    if token.expires_at <= now:
        return Text(f"expired {fmt.ago(token.expires_at, now=now)}", style="red")
    return Text(fmt.stamp(token.expires_at))


def _checked_scope(text: str) -> str:
    scope = text.strip().lower()
    if scope not in _SCOPES:
        raise typer.BadParameter(
            f"{text!r} is not a scope. Choose from {', '.join(_SCOPES)}", param_hint="--scope"
        )
    return scope


def _parsed_expiry(text: str | None, *, now: datetime) -> datetime | None:
    """Return the moment of `--expires`.

    Raises:
        typer.BadParameter: It is neither a period nor a date, or not in the future.
    """
    if text is None:
        return None
    period = _PERIOD.fullmatch(text.strip().lower())
    try:
        if period is not None:
            moment = now + timedelta(seconds=float(period[1]) * _UNITS_S[period[2]])
        else:
            moment = datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (OverflowError, ValueError):
        raise typer.BadParameter(
            f"{text!r} is neither a period (12h, 90d) nor a date (2027-01-31)",
            param_hint="--expires",
        ) from None
    if moment <= now:
        raise typer.BadParameter(f"{text!r} is not in the future", param_hint="--expires")
    return moment
