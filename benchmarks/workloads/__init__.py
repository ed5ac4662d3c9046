"""One workload a module; each runs alone: `python -m benchmarks.workloads.sequential_tasks`."""
