"""The single writer: a thread that commits waiting operations in groups."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

from flowspan_service.app.ports import Heads, Unfinished, Written
from flowspan_service.domain.errors import ServiceError, StoppingError, StoreUnavailableError
from flowspan_service.stores.dialects.base import DatabaseGoneError
from flowspan_service.stores.engine.cache import Cache
from flowspan_service.stores.engine.holds import TARGET_S, GroupLimit, Holds
from flowspan_service.stores.engine.unit_of_work import SqlUnitOfWork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlalchemy.engine import Connection

    from flowspan_service.app.ports import (
        Clock,
        CommitListener,
        NewsListener,
        Operation,
        WriteListener,
        WriteTimes,
    )
    from flowspan_service.domain.runs import Run
    from flowspan_service.stores.dialects.base import Dialect, Head

T = TypeVar("T")

CACHED_RUNS = 20_000

BEFORE_COMMIT = "before_commit"
AFTER_COMMIT = "after_commit"
BEFORE_RESOLVE = "before_resolve"

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Waiting:
    operation: Operation[Any]
    future: Future[Any]
    weight: int
    since_s: float
    """The time at which it began to wait, on the monotonic clock."""
    is_begun: bool = False
    """True once its future can no longer be cancelled."""
    is_rest: bool = False
    """True for the remainder of a long operation. It gets its own transaction, so that no other
    operation waits for its end."""


@dataclass(slots=True)
class _Committed:
    """The outcome of a transaction."""

    outcomes: list[tuple[Future[Any], Any]]
    refused: list[tuple[Future[Any], Exception]]
    postponed: Sequence[_Waiting]
    """Operations that did not fit into the time limit."""
    before: Head
    head: Head
    ended: list[Run]
    rolled_back: set[str]
    roots: set[str]
    news_of: set[str]
    changed: bool
    written: Written


class _UnavailableError(Exception):
    """The database failed; the operations themselves may be fine."""


class _GoneError(_UnavailableError):
    """The database has disappeared. The connection is kept, because the database may return."""


class Writer:
    """Executes operations in order of arrival, in transactions as large as the queue.

    While a transaction commits, the next operations queue up: the slower the disk, the larger the
    groups, without any timer. A group is limited to the work of a few hundredths of a second (see
    `holds`). An operation with more work continues behind the waiting ones.
    """

    def __init__(
        self, dialect: Dialect, clock: Clock, on_point: Callable[[str], None] | None
    ) -> None:
        self._dialect = dialect
        self._clock = clock
        self._on_point = on_point or (lambda _name: None)
        self._cache = Cache(max_runs=CACHED_RUNS)
        self._listeners: list[CommitListener] = []
        self._write_listeners: list[WriteListener] = []
        self._news_listeners: list[NewsListener] = []
        self._connection: Connection | None = None
        self._waiting: deque[_Waiting] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._queued_weight = 0
        self._generation = 0
        """The newest commit seen in the database."""
        self.problem: str | None = None
        """The reason why the database cannot be used, if only the writer can know it."""
        self._limit = GroupLimit()
        self._holds = Holds()
        self._thread = threading.Thread(target=self._run, name="flowspan-store-writer", daemon=True)
        self._thread.start()

    @property
    def queued_weight(self) -> int:
        """The total weight of the waiting operations."""
        return self._queued_weight

    @property
    def queued_operation_count(self) -> int:
        """The number of waiting operations."""
        return len(self._waiting)

    def write_times(self) -> WriteTimes:
        """Return the recent durations of transactions; see `app.ports.Store`."""
        return self._holds.times()

    def on_commit(self, listener: CommitListener) -> None:
        """Add a listener for commits; see `app.ports.Store`."""
        self._listeners.append(listener)

    def on_write(self, listener: WriteListener) -> None:
        """Add a listener for transactions; see `app.ports.Store`."""
        self._write_listeners.append(listener)

    def on_session_news(self, listener: NewsListener) -> None:
        """Add a listener for news of sessions; see `app.ports.Store`."""
        self._news_listeners.append(listener)

    def submit(self, operation: Operation[T]) -> Future[T]:
        """Queue an operation and return its future; see `app.ports.Store`."""
        future: Future[T] = Future()
        waiting = _Waiting(operation, future, operation.weight, time.monotonic())
        with self._wake:
            if self._stopping:
                future.set_exception(StoppingError("The service is stopping."))
                return future
            self._waiting.append(waiting)
            self._queued_weight += waiting.weight
            self._wake.notify()
        return future

    def close(self) -> None:
        """Commit the waiting operations, and end the thread."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join()

    # The thread

    def _run(self) -> None:
        while group := self._next_group():
            try:
                self._commit(group)
            except Exception:  # noqa: BLE001 - the writer must survive any error
                _log.exception("The writer failed unexpectedly")
                self._reset()
                for waiting in group:
                    _fail(waiting.future, StoreUnavailableError("The store failed unexpectedly."))
        self._reset()

    def _next_group(self) -> list[_Waiting]:
        """Wait for the next group and return it; an empty list means stop."""
        with self._wake:
            while not self._waiting and not self._stopping:
                self._wake.wait()
            group: list[_Waiting] = []
            weight = 0
            while self._waiting and weight < self._limit.weight:
                if group and (group[-1].is_rest or self._waiting[0].is_rest):
                    break
                waiting = self._waiting.popleft()
                weight += waiting.weight
                group.append(waiting)
            self._queued_weight -= weight
            return group

    def _commit(self, group: list[_Waiting]) -> None:
        group = [waiting for waiting in group if _begin(waiting)]
        if not group:
            return
        try:
            committed = self._transact(group)
        except _UnavailableError as error:
            self._give_up(error)
            for waiting in group:
                _fail(waiting.future, _unavailable(error))
        except Exception as error:  # noqa: BLE001 - the caller of the operation gets it
            self._forget()
            if len(group) == 1:
                _fail(group[0].future, error)
            else:
                self._commit_singly(group)
        else:
            self._tell(committed)

    def _commit_singly(self, group: list[_Waiting]) -> None:
        """Run each operation in its own transaction, because one of them fails the group."""
        for done, waiting in enumerate(group, 1):
            try:
                committed = self._transact([waiting])
            except _UnavailableError as error:
                self._give_up(error)
                _fail(waiting.future, _unavailable(error))
            except Exception as error:  # noqa: BLE001 - the caller of the operation gets it
                self._forget()
                _fail(waiting.future, error)
            else:
                if _is_unfinished(committed):
                    # Its remainder may have to run before the others.
                    self._put_back(group[done:])
                    self._tell(committed)
                    return
                self._tell(committed)

    def _transact(self, group: Sequence[_Waiting]) -> _Committed:
        """Run a group in one transaction.

        Raises:
            _UnavailableError: The database failed. It may have committed, or not.
            Exception: An operation's own error; nothing was committed.
        """
        try:
            connection = self._connect()
            self._dialect.check_place()
            before = head = self._dialect.begin(connection)
            began_s = time.monotonic()
            self._check_not_older(head)
            unit = self._unit(connection, head, until_s=began_s + TARGET_S)
            if head.generation != self._cache.generation:
                unit.preload_sessions(_session_of(waiting.operation) for waiting in group)
            unit.preload(chain.from_iterable(waiting.operation.run_ids for waiting in group))
            outcomes, refused = _run_operations(unit, group)
            changed = unit.changes > 0
            if changed:
                head = unit.finish()
            done = len(outcomes) + len(refused)
            if not unit.budget.is_full:  # otherwise large rows would distort the estimate
                self._limit.learn(
                    sum(waiting.weight for waiting in group[:done]), time.monotonic() - began_s
                )
        except Exception as error:
            self._raise_unavailable(error)
            raise
        self._end_transaction(connection, changed=changed)
        written = self._written(group[:done], began_s, head.position - before.position)
        self._generation = head.generation
        self.problem = None
        told = (
            *(unit.ended_runs(), unit.rolled_back_runs()),
            *(unit.changed_roots(), unit.news_of_sessions()),
        )
        self._cache.generation = head.generation
        self._cache.trim()
        return _Committed(
            outcomes, refused, group[done:], before, head, *told, changed=changed, written=written
        )

    def _written(self, group: Sequence[_Waiting], began_s: float, transition_count: int) -> Written:
        """Note and return the facts about a transaction that just ended."""
        took_s = time.monotonic() - began_s
        self._holds.note(took_s)
        return Written(
            began_ns=self._clock.now_us() * 1_000 - round(took_s * 1e9),
            took_s=took_s,
            waited_s=began_s - min(waiting.since_s for waiting in group),
            operation_count=len(group),
            transition_count=transition_count,
        )

    def _end_transaction(self, connection: Connection, *, changed: bool) -> None:
        """Commit.

        Raises:
            _UnavailableError: The database failed. It may have committed, or not.
        """
        try:
            if changed:
                self._on_point(BEFORE_COMMIT)
            connection.exec_driver_sql("COMMIT")
            if changed:
                self._on_point(AFTER_COMMIT)
                # A write to a file that was just deleted must not be acknowledged.
                self._dialect.check_place()
        except DatabaseGoneError as error:
            raise _GoneError(str(error)) from error
        except Exception as error:
            reason = self._dialect.explain(error) or f"The commit failed: {error}"
            raise _UnavailableError(reason) from error

    def _check_not_older(self, head: Head) -> None:
        if head.generation < self._generation:
            self.problem = (
                "The database is in an older state than a moment ago: a backup was restored while"
                " the service was running. The service stores nothing more. Restart it."
            )
            raise DatabaseGoneError(self.problem)

    def _unit(self, connection: Connection, head: Head, *, until_s: float) -> SqlUnitOfWork:
        if self._cache.generation != head.generation:
            self._cache.doubt()
        return SqlUnitOfWork(
            self._dialect,
            connection,
            head,
            self._cache,
            now_us=self._clock.now_us(),
            is_spent=lambda: time.monotonic() >= until_s,
        )

    def _give_up(self, error: _UnavailableError) -> None:
        """Abandon the transaction; the next one begins with a new connection."""
        if isinstance(error, _GoneError):
            self._forget()
        else:
            self._reset()

    def _raise_unavailable(self, error: Exception) -> None:
        if isinstance(error, DatabaseGoneError):
            raise _GoneError(str(error)) from error
        reason = self._dialect.explain(error)
        if reason is not None:
            raise _UnavailableError(reason) from error

    def _tell(self, committed: _Committed) -> None:
        if committed.changed:
            self._on_point(BEFORE_RESOLVE)
        self._put_back(committed.postponed)
        for future, result in committed.outcomes:
            if isinstance(result, Unfinished):
                self._go_on(future, result)
            else:
                future.set_result(result)
        for future, error in committed.refused:
            future.set_exception(error)
        if not committed.changed:
            return
        _call(
            self._listeners,
            position=committed.head.position,
            log_position=committed.head.log_position,
            ended=committed.ended,
            roots=committed.roots,
            before=Heads(committed.before.position, committed.before.log_position),
            rolled_back=committed.rolled_back,
        )
        _call(self._write_listeners, committed.written)
        if committed.news_of:
            _call(self._news_listeners, committed.news_of)

    def _go_on(self, future: Future[Any], unfinished: Unfinished) -> None:
        """Queue the remainder of an operation behind the waiting ones."""
        rest, session_id = unfinished.rest, unfinished.session_id
        with self._wake:
            if not self._stopping or session_id is not None:
                later = self._take_out(session_id)
                self._waiting.append(
                    _Waiting(
                        *(rest, future, rest.weight, time.monotonic()),
                        is_begun=True,
                        is_rest=True,
                    )
                )
                self._waiting.extend(later)
                self._queued_weight += rest.weight
                return
        message = f"The service is stopping. {unfinished.progress}"
        _fail(future, StoppingError(message, advice="Call again."))

    def _take_out(self, session_id: str | None) -> list[_Waiting]:
        """Remove the operations of a session from the queue, and return them."""
        if session_id is None:
            return []
        theirs = [each for each in self._waiting if _session_of(each.operation) == session_id]
        if theirs:
            others = [each for each in self._waiting if _session_of(each.operation) != session_id]
            self._waiting = deque(others)
        return theirs

    def _put_back(self, group: Sequence[_Waiting]) -> None:
        """Put postponed operations at the head of the queue."""
        if group:
            with self._wake:
                self._waiting.extendleft(reversed(group))
                self._queued_weight += sum(waiting.weight for waiting in group)

    # The connection

    def _connect(self) -> Connection:
        if self._connection is None:
            self._connection = self._dialect.writing.connect()
        return self._connection

    def _forget(self) -> None:
        """Roll back the transaction."""
        self._cache.clear()
        try:
            if self._connection is not None:
                self._connection.exec_driver_sql("ROLLBACK")
        except Exception:  # noqa: BLE001 - closing the connection ends it, too
            self._reset()

    def _reset(self) -> None:
        """Drop the connection and the cache; the next transaction starts with new ones."""
        self._cache.clear()
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.invalidate()
                connection.close()
            except Exception:  # noqa: BLE001 - the connection is dropped anyway
                _log.debug("Closing a broken connection failed", exc_info=True)


def _run_operations(
    unit: SqlUnitOfWork, group: Sequence[_Waiting]
) -> tuple[list[tuple[Future[Any], Any]], list[tuple[Future[Any], Exception]]]:
    """Run the operations in order, up to the time limit."""
    outcomes: list[tuple[Future[Any], Any]] = []
    refused: list[tuple[Future[Any], Exception]] = []
    for waiting in group:
        before = unit.changes
        try:
            outcomes.append((waiting.future, waiting.operation(unit)))
        except ServiceError as error:
            # A refusal before any change leaves the transaction intact.
            if unit.changes != before:
                raise
            refused.append((waiting.future, error))
        if unit.is_spent():
            break
    return outcomes, refused


def _call(listeners: Iterable[Callable[..., None]], *args: Any, **kwargs: Any) -> None:
    for listener in listeners:
        try:
            listener(*args, **kwargs)
        except Exception:  # noqa: BLE001 - a listener cannot undo the commit
            _log.exception("A listener of the store failed")


def _session_of(operation: Operation[Any]) -> str | None:
    return getattr(operation, "session_id", None)


def _is_unfinished(committed: _Committed) -> bool:
    return any(isinstance(outcome, Unfinished) for _, outcome in committed.outcomes)


def _begin(waiting: _Waiting) -> bool:
    """Return True unless the operation was cancelled before its start."""
    waiting.is_begun = waiting.is_begun or waiting.future.set_running_or_notify_cancel()
    return waiting.is_begun


def _unavailable(error: _UnavailableError) -> StoreUnavailableError:
    return StoreUnavailableError(
        f"The database did not accept the write: {error}",
        advice="No action is needed: it is retried.",
    )


def _fail(future: Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
