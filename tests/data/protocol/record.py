"""Record the calls between client and service of this version, for later versions.

    python -m tests.data.protocol.record

writes v<version>.json and reports-v<version>.json (see `reports`) beside this file, once for each
release (see CONTRIBUTING.md). The tests of promise 11 and of conformance replay them to the client
and to the service of their own version.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from tests.data.protocol import reports
from tests.support.command_process import run_cli
from tests.support.flow_processes import run_code
from tests.support.service import ServiceProcess
from tests.support.version_skew import SkewProxy

import flowspan

HERE = Path(__file__).parent
COMMANDS = ("run ls", "run show latest", "run logs latest", "server status")

FLOW = """
    from flowspan import flow, get_run_logger, tags, task

    @task(retries=1, retry_delay_seconds=0.01, tags=["recorded"])
    def unsteady(number: int, seen=[]):
        get_run_logger().info("number %s", number)
        if number == 2 and not seen:
            seen.append(number)
            raise ValueError("not yet")
        return number

    @task
    def broken():
        raise RuntimeError("it is broken") from KeyError("why")

    @flow
    def inner(text: str):
        return text.upper()

    @flow(log_prints=True)
    def recorded(numbers: list[int]):
        print("hello")
        broken(return_state=True)
        with tags("outer"):
            return [unsteady(number) for number in numbers], inner("text")

    recorded([1, 2, 3])
"""


def main() -> None:
    """Record the calls and write the files."""
    with tempfile.TemporaryDirectory(prefix="flowspan-record-") as folder:
        home = Path(folder)
        service = ServiceProcess(home=home / "service")
        service.start()
        try:
            with SkewProxy(service.address) as proxy:
                run_code(FLOW, home=home / "client", address=proxy.address)
                for command in COMMANDS:
                    run_cli(*command.split(), "--json", address=proxy.address)
        finally:
            service.end()
        sys.stdout.write(f"{reports.save(flowspan.__version__, reports.record(home))}\n")
    path = HERE / f"v{flowspan.__version__}.json"
    calls = [call.to_json() for call in proxy.recorded if call.method.startswith("/flowspan.v1.")]
    path.write_text(json.dumps(calls, indent=1) + "\n")
    sys.stdout.write(f"{path}: {len(calls)} calls\n")


if __name__ == "__main__":
    main()
