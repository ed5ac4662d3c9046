"""Flows: table, reads, and writes in a unit of work. Creations of flow runs write them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, Table, bindparam, select, text

from flowspan_service.domain.flows import Flow, flow_id
from flowspan_service.stores.engine.transaction import Buffered
from flowspan_service.stores.ids import Id
from flowspan_service.stores.schema import NAME, metadata

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan_service.domain.runs import Run
    from flowspan_service.stores.engine.reading import Reading
    from flowspan_service.stores.engine.transaction import Transaction

flow = Table(
    "flow",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", NAME, nullable=False, unique=True),
    Column("created_us", BigInteger, nullable=False),
    Column("last_run_us", BigInteger, nullable=False),
)

_UPSERT = text(
    "INSERT INTO flow (id, name, created_us, last_run_us)"
    " VALUES (:id, :name, :created_us, :last_run_us)"
    " ON CONFLICT (id) DO UPDATE SET last_run_us = CASE"
    " WHEN excluded.last_run_us > flow.last_run_us THEN excluded.last_run_us"
    " ELSE flow.last_run_us END"
).bindparams(bindparam("id", type_=Id))


class FlowReads:
    """Implementation of app.ports.flows.FlowReads."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def get(self, *, flow_id: str | None = None, name: str | None = None) -> Flow | None:
        """Return a flow by its id or its name."""
        statement = select(flow)
        if flow_id is not None:
            statement = statement.where(flow.c.id == flow_id)
        if name is not None:
            statement = statement.where(flow.c.name == name)
        with self._reading.connection() as connection:
            row = connection.execute(statement.limit(1)).first()
        return Flow(*row) if row is not None else None

    def list(self, *, after_name: str | None, limit: int) -> Sequence[Flow]:
        """Return flows by name, after a name."""
        statement = select(flow).order_by(flow.c.name).limit(limit)
        if after_name is not None:
            statement = statement.where(flow.c.name > after_name)
        with self._reading.connection() as connection:
            return [Flow(*row) for row in connection.execute(statement)]


class FlowWrites(Buffered):
    """The flows in a unit of work."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._times: dict[str, tuple[int, int]] = {}
        """By name: the time when the flow was first seen, and the time of its last run."""

    def note_run(self, run: Run) -> None:
        """Note a new flow run of a flow, which may be new itself."""
        created_us, last_run_us = self._times.get(run.function_name, (self._tx.now_us, 0))
        self._times[run.function_name] = (created_us, max(last_run_us, run.created_us))

    @property
    def row_count(self) -> int:
        """The number of buffered rows."""
        return len(self._times)

    def write(self) -> None:
        """Write the buffered rows. A known flow keeps the time when it was first seen."""
        flows = [Flow(flow_id(name), name, *times) for name, times in self._times.items()]
        self._tx.connection.execute(_UPSERT, [asdict(each) for each in flows])
        self._times.clear()
