"""Small utilities for flows, under Prefect's names."""
