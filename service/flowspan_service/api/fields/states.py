"""States, transitions and verdicts: checks and conversions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan.v1 import (
    failure_pb2,
    payload_pb2,
    run_filter_pb2,
    state_pb2,
    transition_pb2,
    verdict_pb2,
)
from flowspan_service.api import limits
from flowspan_service.api.fields.checks import (
    STATE_TYPES,
    check_text,
    check_time,
    invalid,
    too_large,
)
from flowspan_service.api.fields.payloads import check_payload, stored_payload
from flowspan_service.api.fields.values import (
    brief,
    microseconds,
    optional_microseconds,
    put_time,
    timestamp,
)
from flowspan_service.domain.errors import TooLargeError
from flowspan_service.domain.states import DEFAULT_NAMES, State, StateType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowspan_service.domain.runs import Transition
    from flowspan_service.domain.verdicts import Verdict

_HAVE_FAILURES = frozenset({StateType.FAILED, StateType.CRASHED})


def check_state(state: state_pb2.State, field: str) -> None:
    """Check a proposed state, except for its time."""
    if state.type not in STATE_TYPES:
        raise invalid(f"{field}.type", "is required" if not state.type else "is not known")
    check_text(state.name, f"{field}.name", limits.STATE_NAME)
    check_text(state.message, f"{field}.message", limits.STATE_MESSAGE)
    if state.HasField("scheduled_time"):
        check_time(state.scheduled_time, f"{field}.scheduled_time")
    if state.HasField("failure"):
        check_failure(state.failure, f"{field}.failure")
    if state.HasField("result"):
        check_payload(state.result, f"{field}.result", limits.PAYLOAD)


def check_failure(failure: failure_pb2.Failure, field: str) -> None:
    """Check an error of user code and its causes.

    Each error is looked at once, and no more of them than are allowed.
    """
    size = failure.ByteSize()
    if size > limits.FAILURE:
        raise too_large(field, size, limits.FAILURE)
    waiting = [(failure, 1)]
    count = 1
    while waiting:
        each, depth = waiting.pop()
        check_text(each.type, f"{field}.type", limits.FAILURE_TYPE)
        check_text(each.message, f"{field}.message", limits.FAILURE_MESSAGE)
        check_text(each.stack_trace, f"{field}.stack_trace", limits.FAILURE_STACK_TRACE)
        has_cause = each.HasField("cause")
        causes = has_cause + len(each.other_causes)
        if not causes:
            continue
        count += causes
        if depth == limits.FAILURE_DEPTH:
            raise TooLargeError(
                f"{field}: a chain of more than {limits.FAILURE_DEPTH} failures", field=field
            )
        if count > limits.FAILURE_COUNT:
            raise TooLargeError(
                f"{field}: more than {limits.FAILURE_COUNT} failures in all", field=field
            )
        waiting += [(cause, depth + 1) for cause in each.other_causes]
        if has_cause:
            waiting.append((each.cause, depth + 1))


def new_state(wire: state_pb2.State) -> State:
    """Return the proposed state of a message; its time is 0 if it has none.

    As in reports, only a failed state keeps a failure, and only a completed one a result.
    """
    kind = int(wire.type)
    has_failure = kind in _HAVE_FAILURES and wire.HasField("failure")
    has_result = kind == StateType.COMPLETED and wire.HasField("result")
    return State(
        kind,
        wire.name or DEFAULT_NAMES[StateType(kind)],
        wire.message,
        microseconds(wire.time),
        optional_microseconds(wire, "scheduled_time"),
        wire.failure.SerializeToString() if has_failure else None,
        stored_payload(wire.result) if has_result else None,
    )


def put_state(wire: state_pb2.State, state: State) -> None:
    """Set a state in place."""
    wire.type = state.type  # type: ignore[assignment] # an int, as enums of protobuf are
    wire.name = state.name
    wire.message = state.message
    put_time(wire.time, state.time_us)
    if state.scheduled_us is not None:
        put_time(wire.scheduled_time, state.scheduled_us)
    if state.failure is not None:
        wire.failure.CopyFrom(failure_pb2.Failure.FromString(state.failure))
    if state.result is not None:
        wire.result.CopyFrom(payload_pb2.Payload.FromString(state.result))


def state_message(state: State) -> state_pb2.State:
    """Return the message of a state."""
    wire = state_pb2.State()
    put_state(wire, state)
    return wire


def transition_message(transition: Transition) -> transition_pb2.Transition:
    """Return the message of a transition."""
    return transition_pb2.Transition(
        run_id=transition.run_id,
        ordinal=transition.ordinal,
        attempt=transition.attempt,
        state=state_message(transition.state),
        cause=transition.cause,  # type: ignore[arg-type] # an int, as enums of protobuf are
        position=transition.position,
        commit_time=timestamp(transition.commit_us),
    )


def verdict_message(verdict: Verdict) -> verdict_pb2.Verdict:
    """Return the message of a verdict, with the state but not its payloads, for brevity."""
    return verdict_pb2.Verdict(
        sequence=verdict.sequence,
        run_id=verdict.run_id,
        kind=verdict.kind,  # type: ignore[arg-type] # an int, as enums of protobuf are
        rule=verdict.rule,
        reason=verdict.reason,
        current_state=None if verdict.state is None else _brief_state(verdict.state),
        current_attempt=verdict.attempt,
    )


def short_verdict_message(verdict: Verdict) -> verdict_pb2.Verdict:
    """Return the smallest message of a verdict: only the rule gives the reason."""
    return verdict_pb2.Verdict(
        sequence=verdict.sequence,
        run_id=verdict.run_id,
        kind=verdict.kind,  # type: ignore[arg-type] # an int, as enums of protobuf are
        rule=verdict.rule,
        current_attempt=verdict.attempt,
    )


def state_counts(counts: Mapping[int, int]) -> list[run_filter_pb2.StateCount]:
    """Return the messages of the number of runs per type of state, without zeros."""
    return [
        run_filter_pb2.StateCount(type=kind, count=counts[kind])  # type: ignore[arg-type] # an int
        for kind in sorted(counts)
        if counts[kind]
    ]


def _brief_state(state: State) -> state_pb2.State:
    return state_pb2.State(
        type=state.type,  # type: ignore[arg-type] # an int, as enums of protobuf are
        name=state.name,
        message=brief(state.message),
        time=timestamp(state.time_us),
        scheduled_time=None if state.scheduled_us is None else timestamp(state.scheduled_us),
    )
