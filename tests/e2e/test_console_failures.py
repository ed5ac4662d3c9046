"""The output of programs whose runs fail: each failure once, without flowspan's frames."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from tests.support.flow_processes import FlowProcess
from tests.support.run_queries import flow_runs, logs, task_runs

if TYPE_CHECKING:
    from tests.support.service import ServiceProcess

HEADER = "Traceback (most recent call last):"
START = """
    import asyncio, sys, threading
    from flowspan import flow, task
    from flowspan.task_runners import ProcessPoolTaskRunner

    @task
    def load():
        raise ValueError("no")

    @task
    async def aload():
        await asyncio.sleep(0)
        raise ValueError("no")
"""

SHAPES = {
    "called": """
    @flow
    def inner(): load()
    @flow
    def outer(): inner()
    def main(): outer()
    main()
    """,
    "tasks in tasks": """
    @task
    def inner(): load()
    @flow
    def outer(): inner()
    def main(): outer()
    main()
    """,
    "async": """
    @flow
    async def inner(): await aload()
    @flow
    async def outer(): await inner()
    def main(): asyncio.run(outer())
    main()
    """,
    "plain in async": """
    @flow
    def inner(): load()
    @flow
    async def outer(): inner()
    def main(): asyncio.run(outer())
    main()
    """,
    "async in plain": """
    @flow
    async def inner(): await aload()
    @flow
    def outer(): asyncio.run(inner())
    def main(): outer()
    main()
    """,
    "submitted": """
    @flow
    def inner(): load.submit().result()
    @flow
    def outer(): inner()
    def main(): outer()
    main()
    """,
    "submitted async": """
    @flow
    async def inner(): await aload.submit()
    @flow
    async def outer(): await inner()
    def main(): asyncio.run(outer())
    main()
    """,
    "process": """
    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    def inner(): load.submit().result()
    @flow
    def outer(): inner()
    def main(): outer()
    main()
    """,
    "retried": """
    @flow
    def inner(): load.with_options(retries=2)()
    @flow(retries=1)
    def outer(): inner()
    def main(): outer()
    main()
    """,
    "in a thread": """
    @flow
    def inner(): load()
    @flow
    def outer(): inner()
    def main(): outer()
    thread = threading.Thread(target=main)
    thread.start(); thread.join()
    print("ValueError: no", file=sys.stderr)
    """,
    "raised by the state": """
    @flow
    def inner(): load(return_state=True).result()
    @flow
    def outer(): inner()
    def main(): outer()
    main()
    """,
    "timed out beside": """
    @flow(timeout_seconds=60)
    def inner(): load()
    @flow
    def outer(): inner()
    def main(): outer()
    main()
    """,
}


def errors_of(code: str, service: ServiceProcess, **env: str) -> str:
    with FlowProcess(
        START + code, home=service.home / "client", address=service.address, env=env
    ) as process:
        process.finish(expected_code=None)
        return process.errors


def frames_in(text: str) -> list[str]:
    """Return the program's functions in a printed traceback, in order."""
    return re.findall(r'File "[^"]*program-[^"]*", line \d+, in (\S+)', text)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_failure_of_nested_runs_is_shown_once(service: ServiceProcess, shape: str) -> None:
    errors = errors_of(SHAPES[shape], service)
    assert errors.count(HEADER) == 1, errors
    assert "/flowspan/" not in errors, errors
    frames = frames_in(errors)
    for name in ("main", "outer", "inner"):
        assert frames.count(name) == 1, errors
    assert frames.count("load") + frames.count("aload") == 1, errors
    assert errors.rstrip().endswith("\nValueError: no"), errors
    # The service has the whole failure for each run.
    for run in [*flow_runs(service.channel), *task_runs(service.channel)]:
        trace = run.state.failure.stack_trace
        assert trace.count(HEADER) == 1
        assert frames_in(trace)[-1] in {"load", "aload"}
        stored = [log.message for log in logs(service.channel, run.id) if HEADER in log.message]
        assert len(stored) == 1
        assert frames_in(stored[0])[-1] in {"load", "aload"}


CAUGHT = {
    "by the program": """
    @flow
    def outer(): load()
    try: outer()
    except ValueError: pass
    """,
    "as a state": """
    @flow
    def outer(): load()
    assert outer(return_state=True).is_failed()
    """,
    "by the flow": """
    @flow
    def outer():
        try: load()
        except ValueError: return 1
    outer()
    """,
    "by nobody who asked": """
    @flow
    def outer():
        load.submit()
        return 1
    outer()
    """,
    "again and again": """
    @flow
    def outer():
        future = load.submit()
        for _ in range(3):
            try: future.result()
            except ValueError: pass
        return 1
    outer()
    """,
}


@pytest.mark.parametrize("by", CAUGHT)
def test_a_failure_that_is_caught_is_shown_once_as_well(service: ServiceProcess, by: str) -> None:
    errors = errors_of(CAUGHT[by], service)
    assert errors.count(HEADER) == 1, errors
    assert frames_in(errors)[-1] == "load"


def test_what_one_exception_became_is_shown_with_each_of_them_once(service: ServiceProcess) -> None:
    errors = errors_of(
        """
    @flow
    def inner():
        try: load()
        except ValueError as error: raise KeyError("second") from error
    @flow
    def outer():
        try: inner()
        except KeyError: raise RuntimeError("third")
    try: outer()
    except RuntimeError as error:
        error.add_note("noted by the program")
        raise OSError("last") from error
    """,
        service,
    )
    for last_line in ("ValueError: no", "KeyError: 'second'", "RuntimeError: third"):
        assert errors.count(f"\n{last_line}\n") == 1, errors
        assert f"\n{last_line} (its traceback is above)\n" in errors
    assert errors.count("\nOSError: last\n") == 1
    assert errors.count(HEADER) == 4
    assert "/flowspan/" not in errors


def test_a_group_shows_what_was_not_shown_before(service: ServiceProcess) -> None:
    errors = errors_of(
        """
    @flow
    async def outer():
        async def bare(): raise LookupError("bare")
        async with asyncio.TaskGroup() as group:
            group.create_task(aload())
            group.create_task(bare())
    asyncio.run(outer())
    """,
        service,
    )
    assert errors.count("in aload") == 1
    assert "| ValueError: no (its traceback is above)" in errors
    assert errors.count("| LookupError: bare") == 1
    assert errors.count("in bare") == 1


def test_a_recursion_is_shortened(service: ServiceProcess) -> None:
    errors = errors_of(
        """
    def ping(n): return pong(n + 1)
    def pong(n): return ping(n + 1)
    @task
    def deep(): ping(0)
    @flow
    def outer(): deep()
    outer()
    """,
        service,
    )
    assert "frames left out" in errors
    assert len(errors.splitlines()) < 80
    assert "in outer" in errors
    (run,) = task_runs(service.channel)
    assert run.state.failure.stack_trace.count("in ping") > 100


def test_what_is_not_shown_in_the_log_is_shown_by_python_without_our_frames(
    service: ServiceProcess,
) -> None:
    errors = errors_of(SHAPES["called"], service, FLOWSPAN_LOGGING_TO_CONSOLE="false")
    assert errors.count(HEADER) == 1
    assert "/flowspan/" not in errors
    assert frames_in(errors) == ["<module>", "main", "outer", "inner", "load"]
    assert errors.rstrip().endswith("\nValueError: no")


@pytest.mark.parametrize("stream", ["sys.stderr", "sys.stdout"])
def test_the_programs_own_logging_shows_it_once(service: ServiceProcess, stream: str) -> None:
    code = f"""
    import logging
    logging.basicConfig(stream={stream}, level="INFO", format="mine: %(message)s")
    """
    errors = errors_of(code + SHAPES["called"], service)
    # On standard output only the program's log has it, which may be redirected or ignored.
    assert errors.count(HEADER) == 1
    assert "/flowspan/" not in errors
    assert ("mine: Failed" in errors) == (stream == "sys.stderr")


def test_a_hook_of_the_programs_own_is_left_alone(service: ServiceProcess) -> None:
    errors = errors_of(
        """
    def hook(kind, error, trace):
        names = []
        while trace: names.append(trace.tb_frame.f_code.co_name); trace = trace.tb_next
        print("hooked", kind.__name__, [name for name in names if name in {"outer", "load"}],
              file=sys.stderr)
    sys.excepthook = hook
    @flow
    def outer(): load()
    outer()
    """,
        service,
    )
    assert errors.rstrip().endswith("hooked ValueError ['outer', 'load']")


def test_thousands_of_failures_are_shown_as_a_few_and_stored_each(service: ServiceProcess) -> None:
    errors = errors_of(
        """
    @task(retries=1)
    def fail(i): raise ValueError(f"no {i % 2}")
    @flow
    def outer(): return fail.map(range(500))
    outer(return_state=True)
    """,
        service,
    )
    assert errors.count(HEADER) <= 3
    assert len(errors.splitlines()) < 60, errors
    failed = sum(int(n.replace(",", "")) for n in re.findall(r"- ([\d,]+) more .* Failed", errors))
    assert failed + len(re.findall(r"Task run 'fail-\d+' - Failed", errors)) == 500
    (flow_run,) = flow_runs(service.channel)
    stored = [log.message for log in logs(service.channel, flow_run.id, descendants=True)]
    whole = [text for text in stored if text.startswith("Failed after") and HEADER in text]
    assert len(whole) == 500 + 1  # And the flow's own failure.
    assert not any("more task runs" in text for text in stored)


FOLDED = {
    "retries": (
        """
    @task(retries=1)
    def load(x):
        if runtime.task_run.run_count == 1: raise ValueError("no")
    """,
        ["ValueError: no | Retry 1/1 begins at once."],
    ),
    "retries of errors of several lines": (
        """
    @task(retries=1)
    def load(x):
        if runtime.task_run.run_count == 1: raise OSError(f"cannot read\\nfile number {x}")
    """,
        ["OSError: cannot read | Retry 1/1 begins at once."],
    ),
    "retries of errors that begin in many ways": (
        """
    @task(retries=1)
    def load(x):
        if runtime.task_run.run_count == 1: raise ValueError("abcd"[x % 2] * 400)
    """,
        [
            f"ValueError: {'a' * 287}… | Retry 1/1 begins at once.",
            f"ValueError: {'b' * 287}… | Retry 1/1 begins at once.",
        ],
    ),
    "hooks": (
        """
    def bad_hook(*_): raise ValueError("of the hook")
    @task(on_completion=[bad_hook])
    def load(x): pass
    """,
        ["The on_completion hook 'bad_hook' raised: ValueError: of the hook"],
    ),
    "conditions": (
        """
    @task(retries=1, retry_condition_fn=lambda *_: 1 / 0)
    def load(x): raise ValueError("no")
    """,
        [
            "retry_condition_fn raised: the run is not retried. "
            "ZeroDivisionError: division by zero",
            "Failed. ValueError: no",
        ],
    ),
    "timeouts": (
        """
    @task(timeout_seconds=0.05)
    def load(x):
        end = time.monotonic() + 0.8
        while time.monotonic() < end:
            try: time.sleep(0.8)
            except BaseException: pass
    """,
        [
            "The function could not be interrupted (it blocks, or is cleaning up), and continues "
            "in thread '…'. The run ends without it: ",
            "TimedOut. Task run '…' exceeded its timeout of 0.05 s.",
        ],
    ),
}


@pytest.mark.parametrize("what", FOLDED)
def test_a_line_for_many_says_once_what_happened(what: str, service: ServiceProcess) -> None:
    code, expected = FOLDED[what]
    errors = errors_of(
        f"""
    import time
    from flowspan import runtime
    {code.strip()}
    @flow
    def outer(): load.map(range(12)).wait()
    outer()
    """,
        service,
    )
    folded = [text for text in errors.splitlines() if " more task runs of " in text]
    shown = "\n".join(re.sub(r" \(×\d+\)", "", text) for text in folded)
    assert len(folded) == len({each.partition(" ")[0] for each in expected})
    for each in expected:
        assert re.search(rf"(^.*'load': |; ){re.escape(each)}", shown, re.MULTILINE), shown
        assert shown.count(each) == 1


def test_thousands_of_cancelled_tasks_are_one_line(service: ServiceProcess) -> None:
    errors = errors_of(
        """
    from flowspan.task_runners import ThreadPoolTaskRunner
    begun, go_on = threading.Event(), threading.Event()
    @task
    def wait(i): begun.set(); go_on.wait()
    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def outer():
        futures = wait.map(range(1000))
        begun.wait()
        for future in futures[1:]: future.cancel()
        go_on.set()
        return 1
    outer()
    """,
        service,
    )
    assert (
        sum(
            int(n.replace(",", ""))
            for n in re.findall(r"- ([\d,]+) task runs of 'wait': Can", errors)
        )
        == 999
    ), errors
    assert len(errors.splitlines()) <= 6, errors
    stored = [
        log.message
        for log in logs(service.channel, flow_runs(service.channel)[0].id, descendants=True)
    ]
    assert sum(text.startswith("Cancelled without running") for text in stored) == 999
