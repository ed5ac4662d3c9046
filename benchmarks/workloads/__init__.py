"""The workloads, one per module; each runs alone: `python -m benchmarks.workloads.subflows`."""
