"""The driver of the Python client: performs commands with the public names of flowspan.

tests/conformance/README.md describes the commands and the operations of bodies. The bodies are
asynchronous, because a cancellation reaches asynchronous code at each `await`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from typing import Any

from flowspan import flow, get_run_logger, runtime, task
from flowspan.artifacts import create_markdown_artifact

POLL_S = 0.01

gates: dict[str, threading.Event] = {}
gates_lock = threading.Lock()
output_lock = threading.Lock()


def answer(**fields: Any) -> None:
    """Write one line of JSON."""
    with output_lock:
        sys.stdout.write(json.dumps(fields) + "\n")
        sys.stdout.flush()


def gate(name: str) -> threading.Event:
    """Return the gate of a name, which is closed at first."""
    with gates_lock:
        return gates.setdefault(name, threading.Event())


async def perform(body: list[dict[str, Any]], attempt: int) -> Any:
    """Perform the operations of a body; return the value of the last `return`."""
    result = None
    for operation in body:
        ((name, value),) = [each for each in operation.items() if each[0] in OPERATIONS]
        found = await OPERATIONS[name](value, operation, attempt)
        result = found if name == "return" else result
    return result


async def log(text: str, operation: dict[str, Any], attempt: int) -> None:
    """Log a text: `repeat` joins copies of it, `times` logs it several times with a number."""
    text *= operation.get("repeat", 1)
    logger = get_run_logger()
    times = operation.get("times")
    for number in [""] if times is None else range(times):
        logger.info("%s%s", text, f" {number}" if times is not None else "")


async def call_task(name: str, operation: dict[str, Any], attempt: int) -> Any:
    """Call a task."""
    return await as_task(name, operation)()


def as_task(name: str, operation: dict[str, Any]) -> Any:
    """Return the task of an operation."""

    @task(
        name=name,
        retries=operation.get("retries", 0),
        retry_delay_seconds=operation.get("retry_delay_s", 0),
        tags=set(operation.get("tags", ())),
    )
    async def function() -> Any:
        return await perform(operation.get("body", []), runtime.task_run.run_count)

    return function


async def call_flow(name: str, operation: dict[str, Any], attempt: int) -> Any:
    """Call a flow."""
    return await as_flow(name, operation)()


def as_flow(name: str, operation: dict[str, Any]) -> Any:
    """Return the flow of an operation."""

    @flow(name=name, validate_parameters=False)
    async def function() -> Any:
        return await perform(operation.get("body", []), runtime.flow_run.run_count)

    return function


async def parallel(tasks: list[dict[str, Any]], operation: dict[str, Any], attempt: int) -> None:
    """Call tasks in parallel."""
    await asyncio.gather(*(as_task(each["task"], each)() for each in tasks))


async def fail(message: str, operation: dict[str, Any], attempt: int) -> None:
    """Fail, up to an attempt if the operation names one, because of `cause` if it has one."""
    if attempt > operation.get("up_to_attempt", attempt):
        return
    cause = operation.get("cause")
    raise ValueError(message * operation.get("repeat", 1)) from (KeyError(cause) if cause else None)


async def wait(name: str, operation: dict[str, Any], attempt: int) -> None:
    """Wait until a gate is open."""
    while not gate(name).is_set():  # noqa: ASYNC110 - another thread opens it
        await asyncio.sleep(POLL_S)


async def sleep(seconds: float, operation: dict[str, Any], attempt: int) -> None:
    """Sleep."""
    await asyncio.sleep(seconds)


async def mark(text: str, operation: dict[str, Any], attempt: int) -> None:
    """Tell the test that the body has come to this point."""
    answer(mark=text)


async def markdown(text: str, operation: dict[str, Any], attempt: int) -> None:
    """Create an artifact."""
    await create_markdown_artifact(text)


async def give_back(value: Any, operation: dict[str, Any], attempt: int) -> Any:
    """Return a value from the body."""
    return value


OPERATIONS = {
    "log": log,
    "task": call_task,
    "flow": call_flow,
    "parallel": parallel,
    "fail": fail,
    "wait": wait,
    "sleep_s": sleep,
    "mark": mark,
    "markdown": markdown,
    "return": give_back,
}


def run_flow(number: int, operation: dict[str, Any]) -> None:
    """Run a flow, and answer with its last state."""
    try:
        state = asyncio.run(as_flow(operation["flow"], operation)(return_state=True))
    except BaseException as error:  # noqa: BLE001 - a flow that cannot even begin is an answer too
        answer(id=number, error=repr(error))
    else:
        answer(id=number, ok={"state": state.type.value, "name": state.name})


def main() -> None:
    """Perform the commands on standard input, each flow in its own thread, until `close`."""
    threads = []
    for line in sys.stdin:
        command = json.loads(line)
        number = command["id"]
        if "start" in command:
            threads.append(threading.Thread(target=run_flow, args=(number, command["start"])))
            threads[-1].start()
            answer(id=number, started=True)
        elif "open" in command:
            gate(command["open"]).set()
            answer(id=number, ok={})
        elif "close" in command:
            for thread in threads:
                thread.join()
            # The client ends its session when the process ends.
            break
        else:
            answer(id=number, error=f"unknown command {line}")


if __name__ == "__main__":
    main()
