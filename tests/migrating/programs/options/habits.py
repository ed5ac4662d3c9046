"""Ten more habits of options in Prefect code."""

import asyncio

from prefect import flow, tags, task
from prefect.runtime import flow_run, task_run
from prefect.task_runners import ThreadPoolTaskRunner

seen = []


def note(kind):
    def hook(thing, run, state):
        seen.append((kind, thing.name, state.name))

    return hook


# 1. decorators without parentheses, with empty ones, and called as functions
@task
def one(x):
    return x


@task()
def two(x):
    return x


three = task(lambda x: x, name="three")
four = flow(one.fn, name="four")
print(one(1), two(2), three(3), four(4), four.name)


# 2. tags of tasks, of with_options and of blocks add up
@task(tags=["a"])
def tagged():
    return sorted(task_run.tags)


@flow
def tagging():
    with tags("block"):
        return tagged(), tagged.with_options(tags={"b"})(), tagged.submit().result()


print(tagging())


# 3. options shared in a dictionary, and a decorator of one's own around task
defaults = {"retries": 1, "retry_delay_seconds": 0, "log_prints": False}


def etl_task(fn=None, **options):
    if fn is None:
        return lambda fn: etl_task(fn, **options)
    return task(fn, **{**defaults, **options})


@etl_task
def shared():
    return 1


@etl_task(retries=2)
def other():
    return 2


print(shared.retries, other.retries, shared(), other())


# 4. hooks by decorators and lists, in order
@flow(on_completion=[note("first")])
def hooked():
    return 1


@hooked.on_completion
def second(thing, run, state):
    seen.append(("second", thing.name, state.name))


hooked()
print(seen)
seen.clear()


# 5. one function, several tasks
loads = [one.with_options(name=f"load-{n}", task_run_name=f"run-{n}") for n in range(2)]
print([each.name for each in loads], [each(5) for each in loads])


# 6. with_options on a flow at the place of the call
@flow(name="base", retries=0)
def base(x: int = 1):
    return flow_run.flow_name, x


print(
    base.with_options(name="renamed")(2), base(), base.with_options(validate_parameters=False)("3")
)


# 7. a task runner as an instance and as a class
@flow(task_runner=ThreadPoolTaskRunner(max_workers=2))
def bounded():
    return sum(one.map([1, 2, 3]).result())


print(
    bounded(),
    bounded.with_options(task_runner=ThreadPoolTaskRunner)(),
    bounded.task_runner.__class__.__name__,
)


# 8. conditions and delays as functions
attempts = []


def transient(task, run, state):
    return "again" in str(state.message)


@task(retries=3, retry_delay_seconds=lambda retries: [0] * retries, retry_condition_fn=transient)
def sometimes():
    attempts.append(1)
    raise ValueError("again" if len(attempts) < 3 else "no more")


print(sometimes(return_state=True).name, len(attempts))


# 9. options of methods, and of a subclass
class Job:
    @task(retries=2, tags=["job"])
    def run(self):
        return "base"

    @flow(name="job")
    def main(self):
        return self.run(), self.run.retries, self.run.tags


class Special(Job):
    @task(retries=5)
    def run(self):
        return "special"


print(
    Job().main(), Special().main(), Special.run.retries, Job().run.with_options(retries=7).retries
)


# 10. async flows with options, called with theirs changed
@flow(timeout_seconds=5, retries=1)
async def later(x: int = "3"):
    return x, await asyncio.sleep(0, "slept")


print(asyncio.run(later()), asyncio.run(later.with_options(name="l", timeout_seconds=None)(4)))
print(
    later.isasync, later.with_options(name="l").timeout_seconds, later.fn.__name__, later.__name__
)

# prints: 1 2 3 4 four
# prints: (['a', 'block'], ['b', 'block'], ['a', 'block'])
# prints: 1 2 1 2
# prints: [('first', 'hooked', 'Completed'), ('second', 'hooked', 'Completed')]
# prints: ['load-0', 'load-1'] [5, 5]
# prints: ('renamed', 2) ('base', 1) ('base', '3')
# prints: 6 6 ThreadPoolTaskRunner
# prints: Failed 3
# prints: ('base', 2, {'job'}) ('special', 5, set()) 5 7
# prints: (3, 'slept') (4, 'slept')
# prints: True 5.0 later later
