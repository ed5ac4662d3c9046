"""Pure parts of the client: no clock, no I/O, no wire types."""
