"""An order that passes through programs in four languages: one tree, one trace, one cancellation.

This program reads the order and calls the Go program `price`, which calls the TypeScript program
`render`, which calls the Java program `archive`. `run.sh` builds them and puts them on the PATH.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from flowspan import flow, get_run_logger, task
from flowspan.context import run_environ

HERE = Path(__file__).parent


@task
def read_order(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    lines = len(content["lines"])
    get_run_logger().info("order %s of %s has %d lines", content["number"], path, lines)
    return content


@task
def call_price(content: dict[str, Any]) -> dict[str, Any]:
    """Call the Go program. Its runs become children of this run."""
    if shutil.which("price") is None:
        get_run_logger().warning("the chain ends here: there is no program `price`")
        return content
    done = subprocess.run(
        ["price"],
        env={**os.environ, **run_environ()},
        input=json.dumps(content),
        stdout=subprocess.PIPE,
        encoding="utf-8",
        # With check=True, a cancelled run would be Failed: the program is cancelled as well, and
        # exits with an error. A cancelled run stops where it calls a task, as it does here.
        check=False,
    )
    return read_receipt(done.returncode, done.stdout)


@task
def read_receipt(exit_code: int, output: str) -> dict[str, Any]:
    if exit_code:
        msg = f"price exited with {exit_code}"
        raise RuntimeError(msg)
    receipt: dict[str, Any] = json.loads(output)
    return receipt


@flow
def order(path: Path, tape_seconds: float = 0) -> dict[str, Any]:
    """Price, render and archive an order."""
    content = read_order(path)
    return call_price({**content, "tapeSeconds": tape_seconds})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("order", type=Path, nargs="?", default=HERE / "orders" / "1001.json")
    parser.add_argument(
        "--tape",
        type=float,
        default=0,
        metavar="SECONDS",
        help="how long the archive waits for its tape",
    )
    arguments = parser.parse_args()
    state = order(arguments.order, arguments.tape, return_state=True)
    if not state.is_completed():
        sys.exit(f"order: {state.name}: {state.message}")
    print(json.dumps(state.result(), indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
