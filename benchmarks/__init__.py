"""Benchmarks of flowspan: `python -m benchmarks --help`; docs/performance.md explains them."""
