"""What flowspan costs: `python -m benchmarks --help`, explained in docs/performance.md."""
