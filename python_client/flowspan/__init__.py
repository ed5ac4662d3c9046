"""flowspan: decorate Python functions, get states, logs, retries and traces."""
