"""The same workloads on other workflow engines: `python -m benchmarks.peers --help`."""
