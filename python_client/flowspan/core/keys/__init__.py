"""Cache keys: hashes of values and the identity of tasks, equal in every process."""
