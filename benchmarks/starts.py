"""Cost of writing the start of a top-level flow run to disk before its function is called.

`python -m benchmarks.starts`: the time to write a start and to empty the file, each the median
of many, in microseconds. No service is needed.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from flowspan.config import Config
from flowspan.core.events import CREATED, STATE, RunRecord
from flowspan.reporter.spool.run_starts import Starts

COUNT = 5_000
RUN_ID = "0190a8a0-0000-7000-8000-000000000001"
RUNNING = 3


def main() -> None:
    """Measure and print."""
    record = RunRecord(
        RUN_ID,
        is_flow=True,
        function_name="etl",
        run_name="curious-cricket",
        parent_run_id=None,
        root_run_id=RUN_ID,
        flow_run_id=RUN_ID,
    )
    keeping, forgetting = [], []
    with tempfile.TemporaryDirectory() as home:
        starts = Starts(Config(home=Path(home)))
        for number in range(COUNT):
            created = (CREATED, record, "Pending", number)
            running = (STATE, RUN_ID, 1, RUNNING, "Running", "", number, None, None)
            began = time.perf_counter()
            starts.keep(created, running)
            kept = time.perf_counter()
            starts.forget(if_true=lambda: True)
            forgetting.append(time.perf_counter() - kept)
            keeping.append(kept - began)
        starts.close()
    print(f"write a start    {statistics.median(keeping) * 1e6:6.1f} µs")
    print(f"empty the file   {statistics.median(forgetting) * 1e6:6.1f} µs")


if __name__ == "__main__":
    main()
