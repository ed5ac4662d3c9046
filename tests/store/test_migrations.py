"""A database of an earlier release is brought up to date and keeps what it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine
from tests.store.builders import (
    START_US,
    a_log,
    a_run,
    a_state,
    an_artifact,
    do,
    new_id,
    put_artifacts,
)
from tests.store.conftest import sqlite_url

from flowspan_service.app.queries import LogQuery, RunQuery
from flowspan_service.domain.commands import CommandKind
from flowspan_service.domain.runs import RunKind
from flowspan_service.domain.states import StateType
from flowspan_service.stores import migrate as migrations
from flowspan_service.stores.tables import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flowspan_service.stores.store import SqlStore

RELEASED_VERSIONS = ["0001", "0002"]


def downgrade(url: str, version: str) -> None:
    """Makes the database as that version of the schema had it."""
    driver = url.replace("postgresql://", "postgresql+psycopg://")
    engine = create_engine(driver, isolation_level="AUTOCOMMIT")
    config = Config()
    config.set_main_option("script_location", str(migrations.MIGRATIONS))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, version)
        assert migrations.current_version(connection) == version
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return sqlite_url(tmp_path)
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.mark.parametrize("version", RELEASED_VERSIONS)
def test_a_database_of_a_release_keeps_what_it_has(
    new_url: str, open_url: Callable[..., SqlStore], version: str
) -> None:
    run = a_run(tags=("kept",))
    store = open_url(new_url)

    def fill(uow) -> None:
        uow.add_run(run)
        uow.add_logs([a_log(run, "kept")])

    do(store, fill)
    store.close()
    downgrade(new_url, version)

    again = open_url(new_url)
    assert again.schema_version() == SCHEMA_VERSION
    found = again.get_run(RunKind.FLOW, run.id)
    assert found is not None
    assert found.tags == ("kept",)
    assert [each.id for each in again.list_runs(RunQuery(RunKind.FLOW)).items] == [run.id]
    assert [each.message for each in again.list_logs(LogQuery(run.id)).items] == ["kept"]
    artifact = an_artifact(run, id=new_id(START_US + 1))
    put_artifacts(again, artifact)
    assert again.get_artifact(artifact_id=artifact.id) == artifact


def test_runs_that_are_being_cancelled_have_their_commands(
    new_url: str, open_url: Callable[..., SqlStore]
) -> None:
    """Before there were commands, the state was all that there was of one."""
    cancelling = a_state(StateType.CANCELLING, message="enough")
    session_id, state = new_id(), a_state(StateType.RUNNING)
    run = a_run(session_id=session_id, state=cancelling, transition_count=3)
    store = open_url(new_url)

    def fill(uow) -> None:
        for each in (run, a_run(state=cancelling), a_run(session_id=session_id, state=state)):
            uow.add_run(each)

    do(store, fill)
    store.close()
    downgrade(new_url, "0002")

    (command,) = open_url(new_url).open_commands(session_id, limit=9).items
    assert (command.run_id, command.number) == (run.id, 3)
    assert (command.reason, command.kind) == ("enough", CommandKind.CANCEL_RUN)
