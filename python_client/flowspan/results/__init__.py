"""Result storage: `ResultStore` saves results in a local or remote folder and reads them back."""

from flowspan.results.record import ResultRecord
from flowspan.results.store import ResultStore, get_result_store

__all__ = ["ResultRecord", "ResultStore", "get_result_store"]
