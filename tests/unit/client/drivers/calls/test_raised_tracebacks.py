"""Tracebacks of exceptions that leave a run: the program's frames and few of flowspan's."""

from __future__ import annotations

import asyncio
import pickle
import traceback
from typing import TYPE_CHECKING

import pytest

from flowspan import flow, task
from flowspan.core.tracebacks import is_own

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.recorder import Recorder


@task
def load() -> None:
    raise ValueError("no")


@task
async def aload() -> None:
    raise ValueError("no")


@flow
def inner() -> None:
    load()


@flow
async def ainner() -> None:
    await aload()


@flow
def submitting() -> None:
    load.submit().result()


def frames(error: BaseException) -> list[str]:
    """Return the program's functions in a traceback."""
    found = traceback.walk_tb(error.__traceback__)
    return [frame.f_code.co_name for frame, _ in found if not is_own(frame)]


def hidden(error: BaseException) -> list[bool]:
    """Return for each frame of flowspan whether pytest and IPython hide it."""
    found = traceback.walk_tb(error.__traceback__)
    return ["__tracebackhide__" in frame.f_locals for frame, _ in found if is_own(frame)]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (load, ["load"]),
        (inner, ["inner", "load"]),
        (submitting, ["submitting", "load"]),
        (lambda: inner(return_state=True).result(), ["<lambda>", "inner", "load"]),
    ],
)
def test_only_the_outermost_call_leaves_frames_of_ours(
    recorder: Recorder, call: Callable[[], object], expected: list[str]
) -> None:
    with pytest.raises(ValueError, match="no") as caught:
        call()
    assert frames(caught.value)[1:] == expected  # The first one is this test.
    assert 1 <= len(hidden(caught.value)) <= 2
    assert all(hidden(caught.value))


def test_so_it_is_for_coroutines(recorder: Recorder) -> None:
    with pytest.raises(ValueError, match="no") as caught:
        asyncio.run(ainner())
    assert frames(caught.value)[-2:] == ["ainner", "aload"]
    assert all(hidden(caught.value))


def test_asking_for_a_result_again_shows_only_who_asked_last(recorder: Recorder) -> None:
    found = []

    @flow
    def outer() -> None:
        future = load.submit()
        for _ in range(3):
            with pytest.raises(ValueError, match="no") as caught:
                future.result()
            found.append(frames(caught.value))

    outer()
    assert found == [["outer", "load"]] * 3


def test_a_state_whose_exception_was_raised_can_be_pickled(recorder: Recorder) -> None:
    state = inner(return_state=True)
    with pytest.raises(ValueError, match="no"):
        state.result()
    again = pickle.loads(pickle.dumps(state))  # noqa: S301 - pickled by this test
    assert again == state
    with pytest.raises(ValueError, match="no"):
        again.result()


def test_the_caught_exception_can_be_raised_again_by_the_program(recorder: Recorder) -> None:
    @flow
    def outer() -> None:
        try:
            load()
        except ValueError as error:
            raise error from None

    with pytest.raises(ValueError, match="no") as caught:
        outer()
    assert frames(caught.value).count("load") == 1
    assert "outer" in frames(caught.value)
