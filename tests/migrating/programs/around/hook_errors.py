"""An error of a hook or condition is an ERROR in the log with its traceback, and no more."""

import asyncio
import logging

from prefect import flow, task

records = []


class Kept(logging.Handler):
    def emit(self, record):
        text = logging.Formatter().format(record)
        if record.name.endswith(("flow_runs", "task_runs")) and "AttributeError" in text:
            records.append((record.levelname, "Traceback" in text, text.count("no_such")))


for name in ("flow_runs", "task_runs"):
    logging.getLogger(f"prefect.{name}").setLevel(logging.INFO)
logging.getLogger().addHandler(Kept())


def wrong(definition, run, state):
    return run.no_such_attribute


async def wrong_later(definition, run, state):
    return run.no_such_attribute


def right(definition, run, state):
    print("right", definition.name, state.name)


def wrong_condition(task, run, state):
    return task.no_such_attribute


hooks = {"on_running": [wrong], "on_completion": [wrong_later, right]}


@task(**hooks)
def plain():
    return 1


@task(on_failure=[wrong, right], retries=1, retry_condition_fn=wrong_condition)
async def later():
    raise ValueError("no")


@flow(**hooks)
def main():
    plain()


@flow(on_completion=[wrong])
async def main_later():
    await later(return_state=True)


for run in (main, lambda: asyncio.run(main_later())):
    records.clear()
    run()
    for level, has_traceback, count in records:
        print(level, has_traceback, count > 0)

# prints: right plain Completed
# prints: right main Completed
# flowspan prints: ERROR True True
# prints: ERROR True True
# prints: ERROR True True
# prints: ERROR True True
# prints: right later Failed
# prints: ERROR True True
# prints: ERROR True True
# prints: ERROR True True
# because: what retry_condition_fn raises is an error in the log as well, with its traceback
