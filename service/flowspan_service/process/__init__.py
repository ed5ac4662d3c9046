"""The operating-system process that the service runs in."""
