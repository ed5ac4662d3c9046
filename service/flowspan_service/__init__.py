"""The flowspan service: stores the reported histories of runs, and serves them."""
