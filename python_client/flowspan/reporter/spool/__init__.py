"""The spool: what the service has not acknowledged, kept on disk while it is away."""
