"""Start and stop times of `flowspan_test_harness`, for the first and for further ones.

`python -m benchmarks.harness [--json]`. Wall time, because the service is another process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time

from flowspan.testing import flowspan_test_harness

ROUNDS = 20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    begins, ends = [], []
    for _ in range(ROUNDS + 1):
        begun = time.perf_counter()
        with flowspan_test_harness():
            begins.append(time.perf_counter() - begun)
            ended = time.perf_counter()
        ends.append(time.perf_counter() - ended)
    figures = {
        "start, first": begins[0] * 1e3,
        "start, further, median": statistics.median(begins[1:]) * 1e3,
        "start, further, maximum": max(begins[1:]) * 1e3,
        "stop, median": statistics.median(ends) * 1e3,
    }
    if arguments.json:
        sys.stdout.write(json.dumps(figures) + "\n")
        return
    for name, value in figures.items():
        sys.stdout.write(f"{name:<32} {value:8.1f} ms\n")


if __name__ == "__main__":
    main()
