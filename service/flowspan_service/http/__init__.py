"""The same services over HTTP: comes later; the flag --http-port is kept for it."""
