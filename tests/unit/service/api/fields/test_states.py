"""The checks of states: failures with their causes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flowspan.v1 import failure_pb2, payload_pb2, state_pb2
from flowspan_service.api import limits
from flowspan_service.api.fields.states import check_failure, new_state, state_message
from flowspan_service.domain.errors import InvalidFieldError, TooLargeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.v1.failure_pb2 import Failure

DEPTH, COUNT = limits.FAILURE_DEPTH, limits.FAILURE_COUNT


def failure(**fields: object) -> Failure:
    return failure_pb2.Failure(type="ValueError", **fields)  # type: ignore[arg-type] # from the caller


def chain(depth: int, *, through_others: bool = False) -> Failure:
    """Return a failure with a chain of causes: `depth` errors."""
    top = each = failure()
    for _ in range(depth - 1):
        each = each.other_causes.add(type="E") if through_others else each.cause
        each.type = "E"
    return top


def group(count: int) -> Failure:
    """Return a failure with members: `count` errors."""
    return failure(other_causes=[failure(message=str(number)) for number in range(count - 1)])


def tree(count: int) -> Failure:
    """Return a failure whose causes have causes, two each: `count` errors."""
    top = failure()
    waiting = [top]
    left = count - 1
    while left:
        each = waiting.pop(0)
        each.cause.type = "E"
        waiting.append(each.cause)
        left -= 1
        if left:
            waiting.append(each.other_causes.add(type="E"))
            left -= 1
    return top


def largest(depth: int) -> Failure:
    """Return a chain of the largest errors."""
    top = each = failure_pb2.Failure()
    for number in range(depth):
        each.type = "t" * limits.FAILURE_TYPE
        each.message = "m" * limits.FAILURE_MESSAGE
        each.stack_trace = "s" * limits.FAILURE_STACK_TRACE
        if number < depth - 1:
            each = each.cause
    return top


GOOD: dict[str, Callable[[], Failure]] = {
    "one": failure,
    "a chain": lambda: chain(DEPTH),
    "a chain of members": lambda: chain(DEPTH, through_others=True),
    "members": lambda: group(COUNT),
    "a tree": lambda: tree(COUNT),
    "the largest chain": lambda: largest(DEPTH),
}
TOO_MANY: dict[str, Callable[[], Failure]] = {
    "a chain": lambda: chain(DEPTH + 1),
    "a long chain": lambda: chain(60),
    "a chain of members": lambda: chain(DEPTH + 1, through_others=True),
    "members": lambda: group(COUNT + 1),
    "a million members": lambda: failure(other_causes=[failure_pb2.Failure()] * 700_000),
    "a tree": lambda: tree(COUNT + 1),
    "a member too deep": lambda: failure(other_causes=[failure(), chain(DEPTH)]),
}


@pytest.mark.parametrize("name", GOOD)
def test_failures_within_the_limits_come_back(name: str) -> None:
    wire = state_pb2.State(type="STATE_TYPE_FAILED", failure=GOOD[name]())
    check_failure(wire.failure, "state.failure")
    assert state_message(new_state(wire)).failure == wire.failure


@pytest.mark.parametrize("name", TOO_MANY)
def test_larger_failures_are_refused(name: str) -> None:
    with pytest.raises(TooLargeError, match=r"^state\.failure: "):
        check_failure(TOO_MANY[name](), "state.failure")


def test_the_size_of_a_failure_with_its_causes_is_bounded() -> None:
    large = failure(
        other_causes=[failure(stack_trace="s" * limits.FAILURE_STACK_TRACE) for _ in range(26)]
    )
    with pytest.raises(TooLargeError, match=r"^f: \d+ bytes exceed the limit of 1638400"):
        check_failure(large, "f")


@pytest.mark.parametrize("where", ["cause", "other_causes"])
@pytest.mark.parametrize("field", ["type", "message", "stack_trace"])
def test_the_texts_of_causes_are_checked(where: str, field: str) -> None:
    bad = failure(**{field: "a\0"}) if field != "type" else failure_pb2.Failure(type="a\0")
    outer = failure(cause=bad) if where == "cause" else failure(other_causes=[failure(), bad])
    with pytest.raises(InvalidFieldError, match=rf"^f\.{field}: "):
        check_failure(failure(cause=outer), "f")


def test_a_result_sent_as_text_is_stored_as_data() -> None:
    wire = state_pb2.State(
        type="STATE_TYPE_COMPLETED", result=payload_pb2.Payload(encoding="json", text="[1]")
    )
    found = state_message(new_state(wire)).result
    assert (found.data, found.text) == (b"[1]", "")
