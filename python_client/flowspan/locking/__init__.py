"""Locks on keys, for transactions with the isolation level SERIALIZABLE."""
