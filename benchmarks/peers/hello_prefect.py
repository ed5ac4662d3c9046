"""A hello flow with Prefect, run as a process."""

from prefect import flow, get_run_logger, task


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
    hello(["world", "prefect"])
