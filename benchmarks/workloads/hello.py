"""A typical first flow, run as a process: `python benchmarks/workloads/hello.py`.

The harness measures the time from the start of the process to its end.
"""

from __future__ import annotations

from flowspan import flow, get_run_logger, task


@task(retries=2)
def greet(name: str) -> str:
    get_run_logger().info("greeting %s", name)
    return f"Hello, {name}!"


@flow(log_prints=True)
def hello(names: list[str]) -> list[str]:
    greetings = greet.map(names).result()
    print(*greetings, sep="\n")
    return greetings


if __name__ == "__main__":
    hello(["world", "flowspan"])
