"""One run, from its start to its end: a driver for each kind of function."""
