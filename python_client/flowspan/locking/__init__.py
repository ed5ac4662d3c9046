"""Locks on keys, for transactions with the isolation level SERIALIZABLE."""

from flowspan.prefect_names import refusing

__getattr__ = refusing(__name__, modules={"filesystem", "memory"})
