"""Pages besides calls: a front page, the health, the figures and the OpenAPI document."""

from __future__ import annotations

import html
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import TYPE_CHECKING

from flowspan_service.api.figures import snapshot
from flowspan_service.transports.http.asgi import JSON
from flowspan_service.transports.http.errors import json_bytes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from flowspan_service.api.backend import Backend
    from flowspan_service.metrics.points import Snapshot
    from flowspan_service.transports.http.asgi import Answer, Request

METRICS = "/metrics"
_BY_ACCEPT = (b"vary", b"accept")
HTML = "text/html; charset=utf-8"

_NOTHING_ELSE = (
    b"content-security-policy",
    b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
)
"""The front page loads nothing, runs nothing, and is framed by no other page."""

_FRONT_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>flowspan</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem;
  color: #222; background: #fff; }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; padding: .75rem; background: #f2f2f2; }}
code {{ font-family: ui-monospace, monospace; }}
@media (prefers-color-scheme: dark) {{
  body {{ color: #ddd; background: #161616; }}
  pre {{ background: #262626; }}
  a {{ color: #8ab4f8; }}
  a:visited {{ color: #c58af9; }}
}}
</style>
</head>
<body>
<h1>flowspan {version}</h1>
<p>This is the HTTP interface of a flowspan service, for programs. It speaks
<a href="https://connectrpc.com/docs/protocol">Connect</a> and gRPC&#8209;Web, in binary and in
JSON:</p>
<pre><code>curl -H 'content-type: application/json' -d '{{}}' \\
{token}{origin}/flowspan.v1.FlowRunService/ListFlowRuns</code></pre>
<ul>
<li><a href="/openapi.json">openapi.json</a>: all methods and messages, as OpenAPI 3.1</li>
<li><a href="/healthz">healthz</a>: the health of the service</li>
<li><a href="/metrics">metrics</a>: its figures, for Prometheus</li>
</ul>
{access}
<p>There is no web page with the runs yet. In a terminal, <code>flowspan run ls</code> lists
them.</p>
</body>
</html>
"""

_WITH_HEADER = """-H "authorization: Bearer $FLOWSPAN_TOKEN" \\
"""
_ACCESS = (
    "<p>Calls and <code>/metrics</code> need an access token, which <code>flowspan token create"
    "</code> creates on the machine of the service.</p>"
)


class Pages:
    """The pages, by path.

    Args:
        backend: The backend of the servicers.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.by_path: dict[str, Callable[[Answer, Request], Awaitable[None]]] = {
            "/": self._front,
            "/healthz": self._health,
            METRICS: self._metrics,
            "/openapi.json": self._openapi,
        }

    async def _front(self, answer: Answer, request: Request) -> None:
        host = request.headers.get("host") or "127.0.0.1:4680"
        needs_token = self._backend.access.needs_tokens
        page = _FRONT_PAGE.format(
            version=html.escape(self._backend.about.version),
            origin=html.escape(f"{request.scheme}://{host}"),
            token=html.escape(_WITH_HEADER) if needs_token else "",
            access=_ACCESS if needs_token else "",
        )
        await answer.whole(HTTPStatus.OK, page.encode(), HTML, [_NOTHING_ELSE])

    async def _health(self, answer: Answer, _: Request) -> None:
        problem = self._problem()
        content = {"status": "NOT_SERVING" if problem else "SERVING"}
        if problem:
            content["reason"] = problem
        status = HTTPStatus.SERVICE_UNAVAILABLE if problem else HTTPStatus.OK
        await answer.whole(status, json_bytes(content), JSON)

    async def _metrics(self, answer: Answer, request: Request) -> None:
        figures = await snapshot(self._backend)
        accepted = request.headers.get("accept", "")
        body, media_type = await self._backend.read(_metrics_page, figures, accepted)
        await answer.whole(HTTPStatus.OK, body, media_type, [_BY_ACCEPT])

    async def _openapi(self, answer: Answer, _: Request) -> None:
        await answer.whole(HTTPStatus.OK, _openapi_document(), JSON)

    def _problem(self) -> str:
        """Return the reason why the service cannot serve; empty if it can."""
        backend = self._backend
        if backend.stopping.is_set():
            return "The service is stopping."
        return backend.store.gone or backend.activity.database_problem


def _metrics_page(figures: Snapshot, accepted: str) -> tuple[bytes, str]:
    """Return the page of the figures and its media type; called in a thread."""
    # Imported for the first scrape: most services are never scraped.
    from flowspan_service.transports.http.metrics import page  # noqa: PLC0415 - start-up cost

    return page(figures, accepted)


@cache
def _openapi_document() -> bytes:
    return files(__package__).joinpath("openapi.json").read_bytes()
