"""Hooks of tasks: metrics, cleaning up, and asynchronous ones."""

import asyncio
from collections import Counter

from prefect import flow, task
from prefect.context import get_run_context

METRICS: Counter = Counter()
TOLD: list[str] = []


def count(task, task_run, state):
    METRICS[task.name, state.name] += 1


def tell(task, run, state):
    TOLD.append(f"{run.name}: {state.name}: {state.message}")


async def tell_async(task, task_run, state):
    await asyncio.sleep(0)
    TOLD.append(f"async: {task_run.name} took {task_run.run_count} attempts")


def with_result(task, task_run, state):
    TOLD.append(f"{task_run.name} gave {state.result(raise_on_failure=False)!r}")


@task(on_completion=[count, with_result], on_failure=[count, tell], task_run_name="parse-{text}")
def parse(text: str) -> int:
    return int(text)


@task(
    retries=2,
    retry_delay_seconds=0,
    on_failure=[tell, tell_async],
    on_completion=[tell_async],
    on_running=[count],
    task_run_name="unstable",
)
async def unstable(succeed_at: int) -> str:
    attempt = get_run_context().task_run.run_count
    if attempt < succeed_at:
        raise OSError(f"attempt {attempt} of {succeed_at}")
    return "done"


@parse.on_completion
def also(task, task_run, state):
    TOLD.append(f"also {task_run.name}")


@task
def unwatched():
    return 1


@flow
async def watched():
    for text in ["1", "two"]:
        parse(text, return_state=True)
    await unstable(2)
    state = await unstable(9, return_state=True)
    print(state.name)
    return "finished"


print(asyncio.run(watched()))
for line in TOLD:
    print(line)
for (name, state), times in sorted(METRICS.items()):
    print(name, state, times)
later = unwatched.with_options(on_completion=[tell], task_run_name="later")
later()
print(TOLD[-1])
print(len(parse.on_completion_hooks), len(unwatched.on_completion_hooks))

# prints: Failed
# prints: finished
# prints: parse-1 gave 1
# prints: also parse-1
# prefect prints: parse-two: Failed: Task run encountered an exception ValueError: invalid literal for int() with base 10: 'two'
# flowspan prints: parse-two: Failed: ValueError: invalid literal for int() with base 10: 'two'
# prints: async: unstable took 2 attempts
# prefect prints: unstable: Failed: Task run encountered an exception OSError: attempt 3 of 9
# flowspan prints: unstable: Failed: OSError: attempt 3 of 9
# prints: async: unstable took 3 attempts
# prints: parse Completed 1
# prints: parse Failed 1
# prints: unstable Retrying 3
# prints: unstable Running 2
# prefect prints: later: Completed: None
# flowspan prints: later: Completed:
# prints: 3 0
# because: a message is the error alone, and empty where there is none
