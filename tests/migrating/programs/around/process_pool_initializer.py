"""The initializer of a process pool is called in each process before its tasks."""

import os

from prefect import flow, task
from prefect.task_runners import ProcessPoolTaskRunner


def prepare(name, value):
    os.environ[name] = value


@task
def read(i):
    return os.environ.get("PREPARED")


@flow(
    task_runner=ProcessPoolTaskRunner(
        max_workers=1, initializer=prepare, initargs=("PREPARED", "yes")
    )
)
def main():
    return read.map(range(3)).result()


print(main())
print(os.environ.get("PREPARED"))

# prints: ['yes', 'yes', 'yes']
# prints: None
