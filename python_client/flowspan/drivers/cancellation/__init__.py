"""Cancellation: scopes, safe points for interrupts, and SIGTERM."""
