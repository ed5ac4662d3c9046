"""Exceptions keep their type, text, traceback and cause in another process."""

from __future__ import annotations

import threading

import pytest

from flowspan.core.failures import failure_info
from flowspan.drivers.processes.pickling import dump_call, dump_result, dumps, loads
from flowspan.exceptions import ApiError, NotPortable, RemoteError, RunTimeout, WorkerProcessDied


class PickyError(Exception):
    """An error that Python cannot unpickle: its __init__ needs more than its args."""

    def __init__(self, path: str, *, line: int) -> None:
        super().__init__(f"{path}:{line}")
        self.line = line


class SealedError(Exception):
    def __reduce__(self) -> str:
        raise TypeError("sealed")


class LiarError(Exception):
    """An error whose text depends on an attribute that pickling loses."""

    def __init__(self, lock: object) -> None:
        super().__init__()
        self.lock = lock

    def __str__(self) -> str:
        return f"lost: {self.lock.locked()}"  # type: ignore[attr-defined]


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise error from cause
    except BaseException as caught:  # noqa: BLE001 - any error
        return caught


def across(error: BaseException) -> BaseException:
    return loads(dumps(error))


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad", 3),
        KeyError("k"),
        FileNotFoundError(2, "No such file", "/nowhere"),
        PickyError("a.txt", line=4),
        SealedError("text"),
        ApiError("no", status="NOT_FOUND", advice="look"),
        WorkerProcessDied("gone", signal="SIGKILL"),
        RunTimeout("late", "id"),
        SystemExit(3),
    ],
    ids=lambda error: type(error).__name__,
)
def test_type_text_and_attributes_are_kept(error):
    error.__dict__.setdefault("extra", [1])
    copied = across(raised(error))
    assert type(copied) is type(error)
    assert str(copied) == str(error)
    assert copied.args == error.args
    attributes = {
        k: v for k, v in vars(copied).items() if k not in {"__notes__", "_flowspan_trace"}
    }
    assert attributes == vars(error)


def test_what_is_reported_is_the_same_as_before_the_way():
    before = raised(PickyError("a.txt", line=4), raised(ZeroDivisionError("division by zero")))
    assert failure_info(across(before)) == failure_info(before)
    assert failure_info(before).cause is not None


def test_the_context_comes_along_and_may_be_suppressed():
    try:
        try:
            raise KeyError("k")
        except KeyError:
            raise ValueError("v") from None
    except ValueError as error:
        copied = across(error)
    assert isinstance(copied.__context__, KeyError)
    assert copied.__suppress_context__


def test_a_ring_of_causes_has_an_end():
    first, second = ValueError(1), ValueError(2)
    first.__cause__, second.__cause__ = second, first
    copied = across(first)
    assert copied.__cause__.__cause__ is copied


def test_what_cannot_be_sent_has_a_stand_in_that_is_reported_as_the_original():
    error = raised(LiarError(threading.Lock()))
    copied = across(error)
    assert type(copied) is RemoteError
    assert str(copied) == "lost: False"
    before, after = failure_info(error), failure_info(copied)
    assert after.type.endswith("LiarError")
    assert after == before


def test_an_argument_that_cannot_be_sent_becomes_its_text():
    lock = threading.Lock()
    copied = across(raised(ValueError("held", lock)))
    assert type(copied) is RemoteError or copied.args == ("held", repr(lock))
    assert "held" in str(copied)


def test_an_exception_anywhere_in_a_value_keeps_its_trace():
    error = raised(ValueError("inside"))
    (copied,) = loads(dumps([error]))
    assert "in raised" in failure_info(copied).stack_trace


def test_raised_again_it_shows_both_places():
    copied = across(raised(ValueError("twice")))
    trace = failure_info(raised(copied)).stack_trace
    assert trace.count("in raised") == 2
    assert trace.count("Traceback") == 1


def test_python_shows_where_it_was_raised():
    (note,) = across(across(raised(ValueError("x")))).__notes__
    assert note.startswith("In the worker process:\nTraceback")


def test_an_argument_that_cannot_be_pickled_is_named_with_its_type():
    def load(path: str, lock: object, *more: object, key: object = None) -> None: ...

    cases = [
        (("p", threading.Lock()), {}, r"argument 'lock' \(of type _thread.lock\)"),
        (("p", 1, threading.Lock()), {}, r"argument 3 \(of type _thread.lock\)"),
        (("p", 1), {"key": (x for x in ())}, r"argument 'key' \(of type generator\)"),
    ]
    for args, kwargs, message in cases:
        with pytest.raises(NotPortable, match=rf"Task 'load': {message} cannot be sent"):
            dump_call("Task 'load'", load, args, kwargs)


def test_a_result_that_cannot_be_pickled_is_named_with_its_type():
    with pytest.raises(NotPortable, match="Task 'load' returned a value of type generator"):
        dump_result("Task 'load'", (x for x in ()))
