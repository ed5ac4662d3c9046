"""Delivery of a command of any kind to a run in a worker process."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from tests.support.run_queries import wait_until

from flowspan import flow, task
from flowspan.core.commands import Command
from flowspan.drivers.cancellation import control
from flowspan.task_runners import ProcessPoolTaskRunner

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.recorder import Recorder

TIMEOUT_S = 60.0


@task
def pokable(path: Path) -> tuple[int, str, Any]:
    """Run a flow in the worker process that waits for a command of a made-up kind."""
    poked: list[tuple[str, Any]] = []
    is_poked = threading.Event()

    def poke(run: Any, command: Any) -> bool:
        poked.append((run.record.function_name, command.payload))
        is_poked.set()
        return False

    control.HANDLERS["poke"] = poke

    @flow
    def waits() -> None:
        path.touch()
        assert is_poked.wait(TIMEOUT_S)

    waits()
    return os.getpid(), *poked[0]


def test_a_made_up_kind_reaches_a_run_of_a_worker_process(
    recorder: Recorder, tmp_path: Path
) -> None:
    path = tmp_path / "waiting"

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    def outer() -> tuple[int, str, Any]:
        future = pokable.submit(path)
        wait_until(path.exists, "the inner flow")
        run_id = recorder.run("waits").id
        for kind in ("unknown", "poke"):
            recorder.inboxes[run_id](Command(kind, run_id, {"why": ["so"]}))
        return future.result()

    process_id, name, payload = outer()
    assert process_id != os.getpid()
    assert (name, payload) == ("waits", {"why": ["so"]})
    assert "poke" not in control.HANDLERS
