"""The table of transitions, and their reads. `run_writes` writes them together with the runs."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, SmallInteger, Table, Text, select

from flowspan_service.app.ports.pages import Page
from flowspan_service.app.ports.transitions import Changes
from flowspan_service.domain.runs import Transition
from flowspan_service.domain.states import State
from flowspan_service.stores import trees
from flowspan_service.stores.dialects.base import Statement
from flowspan_service.stores.engine.bounds import bounded, state_bytes
from flowspan_service.stores.engine.bulk import chunks
from flowspan_service.stores.engine.reading import ROWS_BUFFERED, streaming
from flowspan_service.stores.ids import Id
from flowspan_service.stores.run_traces import derive_traces
from flowspan_service.stores.runs import run, run_bytes
from flowspan_service.stores.schema import metadata

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import CTE, Select

    from flowspan_service.domain.runs import Run
    from flowspan_service.stores.dialects.base import Syntax
    from flowspan_service.stores.engine.reading import Reading

TRANSITION_BYTES = 100
"""The approximate size of the ids, times, numbers and names in a transition's message."""
SCAN_LIMIT = 20_000
"""The maximum number of positions that one call searches for the changes of a tree."""

transition = Table(
    "transition",
    metadata,
    Column(
        "position",
        BigInteger().with_variant(Integer, "sqlite"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("previous", BigInteger, nullable=False),
    Column("run_id", Id, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("state_type", SmallInteger, nullable=False),
    Column("cause", SmallInteger, nullable=False),
    Column("commit_us", BigInteger, nullable=False),
    Column("time_us", BigInteger, nullable=False),
    Column("scheduled_us", BigInteger),
    Column("name", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("failure", LargeBinary),
    Column("result", LargeBinary),
)
"""The transitions, in the order of the commits. `previous` is the position of the previous
transition of the same run (0: none). Together with run.position it makes a history a chain, which
needs no index.
"""

_COLUMNS = ", ".join(f"transition.{column.name}" for column in transition.c)


def transition_of(row: Sequence[Any]) -> Transition:
    """Return the transition in a row of `transition` with ids as text."""
    (
        position, _previous, run_id, ordinal, attempt, state_type, cause, commit_us,
        time_us, scheduled_us, name, message, failure, result,
    ) = row  # fmt: skip
    return Transition(
        run_id=run_id,
        ordinal=ordinal,
        attempt=attempt,
        state=State(state_type, name, message, time_us, scheduled_us, failure, result),
        cause=cause,
        commit_us=commit_us,
        position=position,
    )


def transition_bytes(transition: Transition) -> int:
    """Return the approximate size of a transition's message."""
    return TRANSITION_BYTES + state_bytes(transition.state)


def transitions_statement(
    after: int, upto: int, root_run_id: str | None, limit: int, syntax: Syntax
) -> Statement:
    """Return the transitions between two positions, of one tree or of all."""
    parameters: dict[str, Any] = {"after": after, "upto": upto, "limit": limit}
    tree = ""
    if root_run_id is not None:
        parameters["root"] = syntax.id_value(root_run_id)
        tree = (
            " JOIN run ON run.id = transition.run_id"
            f" AND run.root_run_id = {syntax.id_parameter('root')}"
        )
    parameter = syntax.parameter
    sql = (
        f"SELECT {_COLUMNS} FROM transition{tree}"  # noqa: S608 - no values in it
        f" WHERE transition.position > {parameter('after')}"
        f" AND transition.position <= {parameter('upto')}"
        f" ORDER BY transition.position LIMIT {parameter('limit')}"
    )
    return Statement(sql, parameters)


def history(position: int) -> CTE:
    """Return the transitions of a run from its last one, at that position, back to the first."""
    return _chain([position])


def history_positions(positions: Sequence[int]) -> Select[tuple[int]]:
    """Return the positions of all transitions of runs whose last ones are at these positions."""
    return select(_chain(positions).c.position)


def _chain(positions: Sequence[int]) -> CTE:
    chain = (
        select(transition.c.position, transition.c.previous)
        .where(transition.c.position.in_(positions))
        .cte("history", recursive=True)
    )
    return chain.union_all(
        select(transition.c.position, transition.c.previous).join(
            chain, transition.c.position == chain.c.previous
        )
    )


class TransitionReads:
    """Implementation of app.ports.transitions.TransitionReads."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def of_run(self, run_id: str) -> list[Transition]:
        """Return the history of a run, by ordinal; empty if there is no such run."""
        return self.page(run_id).items

    def page(
        self,
        run_id: str,
        *,
        after_ordinal: int = 0,
        limit: int | None = None,
        limit_bytes: int = 2_000_000,
    ) -> Page[Transition]:
        """Return a page of the history of a run, by ordinal; all of it without a limit."""
        with self._reading.connection() as connection:
            last = connection.execute(select(run.c.position).where(run.c.id == run_id)).scalar()
            if last is None:
                return Page([], has_more=False)
            positions = history(last)
            statement = (
                select(transition)
                .join(positions, transition.c.position == positions.c.position)
                .where(transition.c.ordinal > after_ordinal)
                .order_by(transition.c.position)
            )
            if limit is None:
                rows = connection.execute(statement)
                return Page([transition_of(row) for row in rows], has_more=False)
            with streaming(connection, limit).execute(statement.limit(limit + 1)) as rows:
                return bounded(map(transition_of, rows), transition_bytes, limit, limit_bytes)

    def changes(
        self, *, after: int, run_id: str | None, limit: int, limit_bytes: int = 2_000_000
    ) -> Changes:
        """Return transitions after a position, of all runs or of one run's tree."""
        with self._reading.explained():
            # First the head: commits during this call belong to the next one.
            newest, root = self._reading.dialect.find_place(run_id)
            upto = newest
            if run_id is not None:
                if root is None:
                    return Changes([], max(after, upto), has_more=False)
                upto = min(upto, after + SCAN_LIMIT)
            with self._reading.dialect.transitions_between(
                after, upto, root_run_id=root, limit=limit + 1
            ) as transitions:
                page = bounded(transitions, transition_bytes, limit, limit_bytes)
            found, runs = self._with_runs(page.items, limit_bytes)
        if page.has_more or len(found) < len(page.items):
            upto = found[-1].position
        if run_id not in (None, root):
            with self._reading.connection() as connection:
                inside = trees.members(connection, runs, of_run=str(run_id))
            runs = {key: value for key, value in runs.items() if key in inside}
        # A run that was deleted in between has no changes.
        pairs = [(change, runs[change.run_id]) for change in found if change.run_id in runs]
        return Changes(pairs, max(after, upto), has_more=upto < newest)

    def _with_runs(
        self, changes: list[Transition], limit_bytes: int
    ) -> tuple[list[Transition], dict[str, Run]]:
        """Return the first changes and their runs: not all changes if the runs are large."""
        run_ids = list(dict.fromkeys(change.run_id for change in changes))
        runs: dict[str, Run] = {}
        size = asked = 0
        for chunk in chunks(run_ids, ROWS_BUFFERED):
            asked += len(chunk)
            for found in self._reading.dialect.find_runs(chunk):
                runs[found.id] = found
                size += run_bytes(found)
            if size > limit_bytes:
                break
        derive_traces(self._reading, runs.values())
        missing = set(run_ids[asked:])
        known = list(takewhile(lambda change: change.run_id not in missing, changes))
        return known, runs

    def changed_roots(self, after: int, upto: int) -> set[str] | None:
        """Return the roots of the trees that changed between two positions; None if too many."""
        if upto - after > SCAN_LIMIT:
            return None
        statement = (
            select(run.c.root_run_id)
            .join(transition, transition.c.run_id == run.c.id)
            .where(transition.c.position > after, transition.c.position <= upto)
            .distinct()
        )
        with self._reading.connection() as connection:
            return set(connection.scalars(statement))

    def commit_time(self, position: int) -> int:
        """Return the commit time of the transition at a position; 0 if it was deleted."""
        statement = select(transition.c.commit_us).where(transition.c.position == position)
        with self._reading.connection() as connection:
            return int(connection.execute(statement).scalar() or 0)
