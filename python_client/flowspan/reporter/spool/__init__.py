"""The spool: unacknowledged events, kept on disk while the service is unavailable."""
