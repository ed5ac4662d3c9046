"""Where results are kept: `ResultStore`, a folder anywhere, and how to read them again."""

from flowspan.results.record import ResultRecord
from flowspan.results.store import ResultStore, get_result_store

__all__ = ["ResultRecord", "ResultStore", "get_result_store"]
