"""A hello workflow with DBOS, run as a process."""

import os

from dbos import DBOS


@DBOS.step(retries_allowed=True, max_attempts=3)
def greet(name: str) -> str:
    DBOS.logger.info(f"greeting {name}")
    return f"Hello, {name}!"


@DBOS.workflow()
def hello(names: list[str]) -> list[str]:
    greetings = [greet(name) for name in names]
    print(*greetings, sep="\n")
    return greetings


if __name__ == "__main__":
    url = os.environ["DBOS_SYSTEM_DATABASE_URL"]
    DBOS(config={"name": "hello", "system_database_url": url})
    DBOS.launch()
    hello(["world", "dbos"])
    DBOS.destroy()
