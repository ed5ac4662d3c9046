"""Retries: a task that fails occasionally is retried with increasing delays.

    python examples/retries.py

`flowspan run show latest` shows the attempts, `flowspan run history ID` each state of a task.
"""

from __future__ import annotations

from flowspan import flow, get_run_logger, runtime, task


class ServerBusyError(Exception):
    """The server asks to come back later."""


@task(retries=3, retry_delay_seconds=[0.1, 0.2, 0.4], retry_jitter_factor=0.5)
def fetch(page: int) -> str:
    """Fetch a page from a server that is busy at first."""
    attempt = runtime.task_run.run_count
    if attempt <= page:
        raise ServerBusyError(f"page {page}, attempt {attempt}")
    return f"page {page} after {attempt} attempts"


@task(retries=5, retry_condition_fn=lambda task, run, state: False)
def check(text: str) -> None:
    """Fail without a retry: the condition returns False, because a retry cannot help."""
    raise ValueError(f"{text!r} is not what was expected")


@flow(retries=1)
def crawl() -> list[str]:
    pages = [fetch(page) for page in range(4)]
    if runtime.flow_run.run_count == 1:
        # A whole flow can be retried, too. The results of its tasks are kept: in the second
        # attempt, they end as Cached.
        raise ServerBusyError("the whole flow, at its first attempt")
    state = check(pages[0], return_state=True)
    get_run_logger().warning("the check ended as %s: %s", state.name, state.message)
    return pages


if __name__ == "__main__":
    for line in crawl():
        print(line)
