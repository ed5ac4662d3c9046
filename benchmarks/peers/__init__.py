"""The same workloads with other workflow engines: `python -m benchmarks.peers --help`."""
