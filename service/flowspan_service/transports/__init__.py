"""Transports: everything that knows the protocol on which calls arrive."""
