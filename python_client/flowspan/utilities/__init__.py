"""Small utilities for flows, under Prefect's names."""

from flowspan.prefect_names import refusing

__getattr__ = refusing(__name__, modules={"annotations", "asyncutils", "hashing"})
