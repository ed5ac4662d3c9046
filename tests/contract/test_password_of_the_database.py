"""The password of the database is never shown, wherever its URL has it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from sqlalchemy.engine import make_url
from tests.support.command_process import run_cli
from tests.support.harness import Stubs

from flowspan.v1 import system_service_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.service import ServiceProcess

PASSWORD = "hunter2/@?&=%"
SHOWN_PART = "hunter2"


@pytest.mark.parametrize("place", ["userinfo", "parameter", "both"])
def test_password_of_the_database_is_told_to_nobody(
    place: str, postgres_url: str, start_service: Callable[..., ServiceProcess]
) -> None:
    url = make_url(postgres_url)
    if place != "parameter":
        url = url.set(password=PASSWORD)
    text = url.render_as_string(hide_password=False)
    if place != "userinfo":
        text += f"{'&' if '?' in text else '?'}password={quote(PASSWORD, safe='')}"
    assert SHOWN_PART in text
    service = start_service(db=text, arguments=("--log-level", "debug"))
    info = Stubs(service.channel).system.GetInfo(system_service_pb2.GetInfoRequest())
    assert info.database == "postgresql"
    assert str(url.database) in info.database_location
    told = [
        str(info),
        service.log,
        run_cli("server", "status", address=service.address),
        run_cli("server", "status", "--json", address=service.address),
        *(path.read_text() for path in service.home.glob("*.json")),
    ]
    assert service.stop() == 0
    told.append(service.log)
    for each in told:
        assert SHOWN_PART not in each
