"""Connection attempts after a refusal: a replaced access token is used soon."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.run_queries import wait_until

from flowspan.config import Config
from flowspan.exceptions import ConfigError, ServiceUnavailableError
from flowspan.reporter.transport import connector as module
from flowspan.reporter.transport.connector import Connected, Connector
from flowspan.reporter.transport.stream import LinkClosedError

if TYPE_CHECKING:
    from pathlib import Path

    from flowspan.connection.address import Address

SOON_S = 5.0
"""Much less than the delay after a refusal, and more than a busy machine needs for a look."""


class Service:
    """Accepts one token; stands in for `open_session`."""

    def __init__(self) -> None:
        self.accepted = "Bearer new"
        self.error: Exception | None = None
        self.attempts: list[str] = []

    def open(self, address: Address, *_: object, **__: object) -> tuple[Any, Any]:
        token = address.access.authorization()
        self.attempts.append(token)
        if self.error is not None:
            raise self.error
        if token != self.accepted:
            raise LinkClosedError("UNAUTHENTICATED", "not valid", reason="UNAUTHENTICATED")
        return "link", "welcome"


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    found = Service()
    monkeypatch.setattr(module, "open_session", found.open)
    return found


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text("old")
    return file


@pytest.fixture
def connector(tmp_path: Path, token_file: Path, service: Service) -> Connector:
    del service
    config = Config(home=tmp_path, address="127.0.0.1:1", token_file=token_file)
    return Connector(config, "session", lambda: None)


def result_of(connector: Connector) -> Any:
    return wait_until(lambda: connector.advance(may_start=False), "the end of an attempt")


def test_replaced_token_is_used_soon(
    connector: Connector, service: Service, token_file: Path
) -> None:
    assert isinstance(result_of(connector), ConfigError)
    assert not connector.has_another_token
    token_file.write_text("new")
    assert connector.has_another_token
    replaced_at = time.monotonic()
    assert isinstance(result_of(connector), Connected)
    assert time.monotonic() - replaced_at < SOON_S
    assert service.attempts == ["Bearer old", "Bearer new"]


@pytest.mark.parametrize("text", ["", "two words"])
def test_file_without_a_token_is_looked_at_again(
    connector: Connector, token_file: Path, text: str
) -> None:
    """A file that is written in two steps is empty for a moment."""
    token_file.write_text(text)
    assert isinstance(result_of(connector), ConfigError)
    assert not connector.has_another_token
    token_file.write_text("new")
    assert connector.has_another_token
    assert isinstance(result_of(connector), Connected)


def test_same_token_is_not_tried_soon(connector: Connector, service: Service) -> None:
    result_of(connector)
    deadline = time.monotonic() + 1.5
    while time.monotonic() < deadline:
        assert connector.advance(may_start=False) is None
        assert connector.next_at is not None
        time.sleep(0.05)
    assert service.attempts == ["Bearer old"]
    assert not connector.has_another_token


def test_token_that_was_not_refused_is_not_looked_at(
    connector: Connector, service: Service, token_file: Path
) -> None:
    service.error = OSError("no route")
    assert isinstance(result_of(connector), ServiceUnavailableError)
    token_file.write_text("new")
    assert not connector.has_another_token


def test_lost_connection_forgets_the_refusal(connector: Connector, token_file: Path) -> None:
    result_of(connector)
    token_file.write_text("new")
    assert isinstance(result_of(connector), Connected)
    connector.lost(was_of_use=True)
    token_file.write_text("newer")
    assert not connector.has_another_token
