"""The result handler of a run: looks up and stores its result, and joins its transaction."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flowspan import clock
from flowspan.core.events import STATE
from flowspan.core.failures import reason_of, summary
from flowspan.core.result_options import NO_OPTIONS, ResultPolicy, handle_result
from flowspan.core.states import COMPLETED, ReusedState, State, StoredState
from flowspan.core.steps import CallBlocking
from flowspan.core.transactions import (
    TransactionNode,
    TransactionState,
    current_transaction,
    end,
    rollback_children,
    transaction_of_run,
)
from flowspan.results.attempt_cache import AttemptCache
from flowspan.results.lookup import LookUp
from flowspan.results.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Hashable

    from flowspan.core.engine import EngineIO
    from flowspan.core.run import Run
    from flowspan.core.steps import Steps
    from flowspan.results.record import ResultRecord

ROLLED_BACK = "RolledBack"

_ERROR = 40
_NS_PER_S = 1_000_000_000


def attach(io: EngineIO, run: Run, inherited: ResultPolicy | None) -> None:
    """Attach the result handling to a run that is about to be reported.

    Args:
        io: The engine's I/O.
        run: The run; its `result_policy` and `result_handler` are set.
        inherited: The result policy of the calling run.
    """
    options = run.definition.result_policy or NO_OPTIONS
    result_policy = (inherited or ResultPolicy()).with_options(options)
    if run.definition.is_flow:
        # `own` holds the caller's attempt cache; `result_policy` passes on this run's own cache.
        own = (
            result_policy
            if options.persist is not False
            else result_policy.with_attempt_cache(None)
        )
        result_policy = result_policy.with_attempt_cache(
            AttemptCache() if run.definition.retry is not None else None
        )
        is_inside = current_transaction.get() is not None
        run.result_policy = result_policy if result_policy.is_set or is_inside else None
        if own.persist or own.attempt_cache is not None:
            handle_result(run, RunResultHandler(io, run, own, None))
        return
    hooks = run.definition.hooks
    has_hooks = hooks is not None and hooks.are_of_transactions
    around = transaction_of(io, run.parent, wanted=has_hooks)
    run.result_policy = result_policy if result_policy.is_set or around is not None else None
    if (
        result_policy.persist
        or result_policy.attempt_cache is not None
        or around is not None
        or has_hooks
    ):
        handle_result(run, RunResultHandler(io, run, result_policy, around))


def transaction_of(io: EngineIO, run: Run | None, *, wanted: bool) -> TransactionNode | None:
    """Return the transaction that contains the code of a run: a block's, or a task run's own.

    Nested tasks each store their results independently, unless a rollback may be needed: if there
    is a block around them, or one of them has transaction hooks.

    Args:
        io: The engine's I/O.
        run: The run; None outside of runs.
        wanted: True to return a task run's own transaction even if it was not needed so far.
    """
    of_block = current_transaction.get()
    if run is None or run.definition.is_flow:
        return of_block
    if of_block is not None and of_block.run_id == run.record.id:
        return of_block
    run = run.copy_of or run
    result_handler = run.result_handler
    if result_handler is not None and result_handler.is_transactional:
        return result_handler.transaction
    if not wanted:
        return None
    around = transaction_of(io, run.parent, wanted=True)
    if result_handler is None:
        result_handler = RunResultHandler(io, run, run.result_policy or ResultPolicy(), around)
        handle_result(run, result_handler)
    result_handler.is_transactional = True
    result_handler.transaction.parent = around
    return result_handler.transaction


class RunResultHandler:
    """The result handler of one run; see `flowspan.core.result_options.ResultHandler`.

    Args:
        io: The engine's I/O.
        run: The run.
        result_policy: The result policy of the run.
        around: The transaction in which the run was called.
    """

    def __init__(
        self, io: EngineIO, run: Run, result_policy: ResultPolicy, around: TransactionNode | None
    ) -> None:
        self.reference: bytes | None = None
        self.looks_up = True
        hooks = run.definition.hooks
        self.is_transactional = around is not None or (
            hooks is not None and hooks.are_of_transactions
        )
        self._io = io
        self._run = run
        self._policy = result_policy
        self._lookup = LookUp(io, run, result_policy)
        self._value: Any = None
        self._names = "", ""
        self._problem: Exception | None = None
        self._snapshot: Snapshot | None = None
        self._record: ResultRecord | Exception | None = None
        self._has_completed = False
        self.transaction = transaction_of_run(
            is_async=run.definition.is_async,
            key=None,
            parent=around,
            run_id=run.record.id,
            note=self._note,
        )

    @property
    def place(self) -> Hashable:
        """The call site passed to the runs that this run calls, in a flow with retries."""
        return self._lookup.place

    def note_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Record the identity of this call, so that the flow's next attempt can recognize it."""
        if self._policy.attempt_cache is not None:
            self._lookup.note_call(args, kwargs)

    def look_up(self) -> Steps[State | None]:
        """Look for an existing result; return the state Cached, or None."""
        is_flow = self._run.definition.is_flow
        if is_flow and self._policy.attempt_cache is None:
            return None
        if not self.looks_up:
            if not is_flow:
                self._lookup.warn_once_of_iterating()
            return None
        lookup = self._lookup
        found = yield from lookup.look_up(self.transaction)
        self.transaction.key = lookup.key
        if found is None:
            return None
        (value,) = found
        self.transaction.state = TransactionState.COMMITTED
        self.transaction.release()
        if lookup.is_stored:
            self._set_reference()
        now, run_id = self._io.now_ns(), self._run.record.id
        if is_flow:
            name, message, value = value
            kept = ReusedState(COMPLETED, "Cached", lookup.found_how, value, run_id, now)
            kept.earlier = name, message
            return kept
        return self._lean(State(COMPLETED, "Cached", lookup.found_how, value, run_id, now))

    def attempt_failed(self) -> Steps[None]:
        """Roll back the tasks that the failed attempt called."""
        yield from rollback_children(self.transaction)

    def finish(self, state: State) -> Steps[State]:
        """Store the result, unless a transaction does it later; return the state to enter."""
        if state.type is not COMPLETED:
            return state
        transaction = self.transaction
        self._value = state.data
        self._names = state.name, state.message
        hooks = self._run.definition.hooks
        if hooks is not None:
            transaction.on_commit_hooks += hooks.of("on_commit")
            transaction.on_rollback_hooks += hooks.of("on_rollback")
        transaction.tell_rolled_back = self._tell_rolled_back
        if not transaction.has_ended:
            transaction.state = TransactionState.STAGED
        if self._policy.persist:
            self._set_reference()
        if self._writes and (
            transaction.waits_for_parent or self._lookup.attempt_cache_call is not None
        ):
            # Serialize before any other code gets the value and may change it.
            yield CallBlocking(self._capture_result)
        if self._snapshot is not None and self._run.definition.is_flow:
            yield from self._keep_with_block()
        if transaction.waits_for_parent:
            transaction.write = self._write if self._writes else None
            return self._lean(state)
        transaction.write = self._write_or_say if self._writes else None
        yield from end(transaction, failed=False)
        self._value = None
        if transaction.is_rolled_back():
            self.reference = None
            message = "Its transaction could not be committed; see its log."
            return state.renamed(name=ROLLED_BACK, message=message)
        if self._problem is not None:
            self.reference = None
            return state.renamed(message=f"Its result was not stored: {reason_of(self._problem)}")
        return self._lean(state)

    def settle(self, state: State) -> Steps[None]:
        """Join the run's transaction with the enclosing one, or roll it back."""
        self._has_completed = state.type is COMPLETED
        if not self.transaction.has_ended:
            yield from end(self.transaction, failed=state.type is not COMPLETED)
        elif state.type is not COMPLETED:
            yield from end(self.transaction, failed=True)

    def _keep_with_block(self) -> Steps[None]:
        """Cache a subflow's result when the enclosing block commits, if there is one.

        If the block is rolled back, so are the subflow's tasks; the next attempt must run it again.
        """
        run, block = self._run, current_transaction.get()
        callers = {run.parent.record.id, self._lookup.flow_run_id} if run.parent is not None else ()
        if block is None or block.run_id not in callers:
            return
        call, snapshot, attempt = (
            self._lookup.attempt_cache_call,
            self._snapshot,
            self._lookup.flow_attempt,
        )
        node = TransactionNode(key=None, parent=block, run_id=run.record.id, note=self._note)
        node.has_joined = True  # internal, and invisible to the program
        node.write = lambda: self._policy.attempt_cache.put(call, snapshot, attempt)
        self._snapshot = None
        yield from end(node, failed=False)

    @property
    def _writes(self) -> bool:
        return self._policy.persist or self._lookup.attempt_cache_call is not None

    def _capture_result(self) -> None:
        """Capture the value as it is now, for the flow's next attempt and for the store."""
        if self._lookup.attempt_cache_call is not None:
            is_flow = self._run.definition.is_flow
            self._snapshot = Snapshot((*self._names, self._value) if is_flow else self._value)
        if self._policy.persist:
            try:
                self._record = self._made_record()
            except Exception as error:  # noqa: BLE001 - raised when it is written
                self._record = error
        self._value = None

    def _made_record(self) -> ResultRecord:
        run, lookup = self._run, self._lookup
        expiration = None
        after_s = (run.definition.result_policy or NO_OPTIONS).expires_after_s
        if after_s is not None:
            expiration = datetime.fromtimestamp(clock.program_ns() / _NS_PER_S + after_s, UTC)
        return lookup.store.prepare(self._value, lookup.storage_key, expiration, run.record.id)

    def _write(self) -> None:
        """Store the result: in the attempt cache and in the result store.

        Raises:
            Exception: It cannot be written.
        """
        if self._snapshot is not None and self._lookup.attempt_cache_call is not None:
            lookup = self._lookup
            self._policy.attempt_cache.put(
                lookup.attempt_cache_call, self._snapshot, lookup.flow_attempt
            )
        if not self._policy.persist:
            return
        record = self._made_record() if self._record is None else self._record
        self._value = self._record = None
        if isinstance(record, Exception):
            raise record
        self._lookup.store.write_record(record)

    def _write_or_say(self) -> None:
        """Store the result outside of transactions; log a failure instead of raising it.

        The run completes anyway: losing an existing result because of a full disk would be worse
        than not storing it.
        """
        try:
            self._write()
        except Exception as error:  # noqa: BLE001 - serializers and file systems may raise anything
            self._problem = error
            self._io.note(
                self._run,
                _ERROR,
                f"The result was not stored ({summary(error)}). The run "
                "has completed anyway, and its callers get the result.",
                None,
            )

    def _set_reference(self) -> None:
        try:
            reference = self._lookup.store.reference(self._lookup.storage_key)
        except Exception:  # noqa: BLE001 - the store cannot be opened; writing reports it
            return
        self.reference = json.dumps(reference).encode()

    def _lean(self, state: State) -> State:
        """Return the state without the result in memory, if the store has it."""
        options = self._run.definition.result_policy or NO_OPTIONS
        if options.in_memory or self.reference is None or self.transaction.waits_for_parent:
            return state
        if type(state) is not State:  # a returned state is passed on unchanged
            return state
        store, key = self._lookup.store, self._lookup.storage_key
        return StoredState(state, lambda: store.load(store.read(key)))

    def _tell_rolled_back(self) -> None:
        if not self._has_completed:  # the completion was never reported
            return
        run, message = self._run, "Rolled back with the transaction that it was called in."
        kind, now = COMPLETED.number, self._io.now_ns()
        event = (STATE, run.record.id, run.attempt, kind, ROLLED_BACK, message, now, None, None)
        self._io.emit(event)
        if run.span is not None:
            run.span.rolled_back(message, now)

    def _note(self, level: int, message: str, error: BaseException | None) -> None:
        self._io.note(self._run, level, message, error)
