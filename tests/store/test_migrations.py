"""Migrations: a database of an earlier release is upgraded and keeps its data."""

from __future__ import annotations

from contextlib import contextmanager
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

from flowspan_service.app.ports.logs import LogQuery
from flowspan_service.app.ports.runs import RunQuery
from flowspan_service.domain.commands import CommandKind
from flowspan_service.domain.runs import RunKind
from flowspan_service.domain.states import StateType
from flowspan_service.stores import migrate as migrations
from flowspan_service.stores.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Connection

    from flowspan_service.stores.store import SqlStore

RELEASED_VERSIONS = ["0001", "0002"]


_SQLITE_FACTS = (
    "SELECT name, type, wr, strict FROM pragma_table_list WHERE name NOT LIKE 'sqlite%' ORDER BY 1",
    'SELECT m.name, c.cid, c.name, c.type, c."notnull", c.dflt_value, c.pk'
    " FROM sqlite_master m, pragma_table_xinfo(m.name) c WHERE m.type = 'table' ORDER BY 1, 2",
    "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'index' ORDER BY 1",
    "SELECT * FROM head",
)
_POSTGRESQL_FACTS = (
    "SELECT table_name, ordinal_position, column_name, data_type, is_nullable, column_default,"
    " collation_name FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2",
    "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2",
    "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2",
    "SELECT * FROM head",
)


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    driver = url.replace("postgresql://", "postgresql+psycopg://")
    engine = create_engine(driver, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def alembic(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrations.MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def downgrade(url: str, version: str) -> None:
    """Downgrade the database to this version of the schema."""
    with connected(url) as connection:
        command.downgrade(alembic(connection), version)
        assert migrations.current_version(connection) == version


def facts(connection: Connection) -> list[list[tuple[object, ...]]]:
    """Return a database's table definitions, without the spaces and quotes of the statements."""
    queries = _SQLITE_FACTS if connection.dialect.name == "sqlite" else _POSTGRESQL_FACTS
    return [
        [
            tuple(" ".join(each.split()) if isinstance(each, str) else each for each in row)
            for row in connection.exec_driver_sql(query)
        ]
        for query in queries
    ]


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return sqlite_url(tmp_path)
    url: str = request.getfixturevalue("postgres_url")
    return url


def test_a_new_database_is_as_the_migrations_make_it(
    new_url: str, open_url: Callable[..., SqlStore]
) -> None:
    """The order of columns counts: rows are copied into tables without column names."""
    open_url(new_url).close()
    with connected(new_url) as connection:
        made = facts(connection)
        command.downgrade(alembic(connection), "base")
        command.upgrade(alembic(connection), "head")
        assert made == facts(connection)
    assert all(made)


@pytest.mark.parametrize("version", RELEASED_VERSIONS)
def test_a_database_of_a_release_keeps_what_it_has(
    new_url: str, open_url: Callable[..., SqlStore], version: str
) -> None:
    run = a_run(tags=("kept",))
    store = open_url(new_url)

    def fill(uow) -> None:
        uow.runs.add(run)
        uow.logs.add([a_log(run, "kept")])

    do(store, fill)
    store.close()
    downgrade(new_url, version)

    again = open_url(new_url)
    assert again.schema_version() == SCHEMA_VERSION
    found = again.runs.get(RunKind.FLOW, run.id)
    assert found is not None
    assert found.tags == ("kept",)
    assert [each.id for each in again.runs.list(RunQuery(RunKind.FLOW)).items] == [run.id]
    assert [each.message for each in again.logs.list(LogQuery(run.id)).items] == ["kept"]
    artifact = an_artifact(run, id=new_id(START_US + 1))
    put_artifacts(again, artifact)
    assert again.artifacts.get(artifact_id=artifact.id) == artifact


def test_runs_that_are_being_cancelled_have_their_commands(
    new_url: str, open_url: Callable[..., SqlStore]
) -> None:
    """Before there were commands, a cancellation was only a state."""
    cancelling = a_state(StateType.CANCELLING, message="enough")
    session_id, state = new_id(), a_state(StateType.RUNNING)
    run = a_run(session_id=session_id, state=cancelling, transition_count=3)
    store = open_url(new_url)

    def fill(uow) -> None:
        for each in (run, a_run(state=cancelling), a_run(session_id=session_id, state=state)):
            uow.runs.add(each)

    do(store, fill)
    store.close()
    downgrade(new_url, "0002")

    (command,) = open_url(new_url).commands.list_open(session_id, limit=9).items
    assert (command.run_id, command.number) == (run.id, 3)
    assert (command.reason, command.kind) == ("enough", CommandKind.CANCEL_RUN)
