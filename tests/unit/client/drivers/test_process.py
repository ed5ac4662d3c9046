"""`flowspan.runtime`, `flowspan.context`, the names in `flowspan`, and forked processes."""

from __future__ import annotations

import asyncio
import os
import pickle
import subprocess
import sys
import warnings
from copy import copy
from typing import TYPE_CHECKING, Any

import pytest

import flowspan
from flowspan import flow, task
from flowspan.drivers.process import ProcessContext, set_process
from flowspan.states import (
    AwaitingRetry,
    Completed,
    Failed,
    Pending,
    Running,
    State,
)

if TYPE_CHECKING:
    from tests.support.recorder import Recorder


def test_states_show_themselves() -> None:
    assert repr(Completed()) == "Completed()"
    assert repr(Failed(message="no")) == "Failed('no')"
    assert repr(Completed(name="Skipped")) == "Skipped(type=COMPLETED)"
    state = Failed(message="no", data=1)
    assert state == pickle.loads(pickle.dumps(state)) != Failed(message="no", data=2)  # noqa: S301 - our own
    assert len({state, copy(state), Failed(message="no", data=2)}) == 2
    assert Failed() != "Failed"
    assert AwaitingRetry().is_scheduled()
    assert not AwaitingRetry().is_final()
    with pytest.raises(flowspan.exceptions.MissingResult, match="no result yet"):
        Running().result()
    with pytest.raises(flowspan.exceptions.MissingResult):
        Pending().result(raise_on_failure=False)
    assert isinstance(Completed(), State)


def test_every_public_name_is_there() -> None:
    for name in flowspan.__all__:
        assert getattr(flowspan, name) is not None
    assert sorted(flowspan.__all__) == dir(flowspan)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = flowspan.nonsense


def test_importing_flowspan_is_light() -> None:
    code = (
        "import sys, flowspan\n"
        "assert not {'asyncio', 'pydantic', 'logging'} & set(sys.modules)\n"
        "from flowspan import flow, task\n"
        "flow(task(lambda: 1, name='x').fn, name='y')\n"
        "heavy = {'asyncio', 'pydantic', 'grpc', 'opentelemetry', 'google.protobuf', 'rich'}\n"
        "heavy |= {'decimal', 'sysconfig', 'tempfile', 'uuid', 'flowspan.core.keys.hashing'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "assert flowspan.states.Completed().is_completed()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no os.fork")
def test_a_forked_child_submits_to_threads_of_its_own(recorder: Recorder) -> None:
    @task
    def double(x: int) -> int:
        return 2 * x

    @flow
    def outer() -> int:
        assert double.submit(1).result() == 2
        with warnings.catch_warnings():
            # Raised from 3.12 on, since the process has threads.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            code = 1
            try:
                # The child creates its own host, so its events do not reach the recorder.
                set_process(host_of_child())
                code = 0 if double.map([1, 2]).result(20) == [2, 4] else 2
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status)

    assert outer() == 0


def host_of_child() -> ProcessContext:
    events: list[Any] = []
    return ProcessContext(
        events.append,
        flush=lambda: None,
        watch_commands=lambda run_id, inbox: None,
        forget=lambda run_id: None,
    )


def test_outermost_runs_of_two_loops_do_not_mix(recorder: Recorder) -> None:
    @flow
    async def outer(x: int) -> int:
        await asyncio.sleep(0)
        return x

    assert [asyncio.run(outer(n)) for n in (1, 2)] == [1, 2]
    assert all(run.parent_run_id is None for run in recorder.runs)
