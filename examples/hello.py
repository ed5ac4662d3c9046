"""A first flow: two tasks, a log line, a result.

    python examples/hello.py
    python examples/hello.py Ada

No set-up is needed: the first flow starts a local service, and later flows use it.
"""

from __future__ import annotations

import sys

from flowspan import flow, get_run_logger, task


@task
def compose(name: str) -> str:
    return f"Hello, {name}!"


@task
def emphasize(text: str) -> str:
    get_run_logger().info("emphasizing %r", text)
    return text.upper()


@flow(log_prints=True)
def hello(name: str = "world") -> str:
    greeting = emphasize(compose(name))
    print(f"{len(greeting)} letters")  # becomes a log line of the run
    return greeting


if __name__ == "__main__":
    print(hello(*sys.argv[1:]))
