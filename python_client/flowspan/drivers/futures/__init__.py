"""Futures of submitted tasks, and their resolution in arguments."""
