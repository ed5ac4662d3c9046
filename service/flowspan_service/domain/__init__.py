"""Pure rules and records of the service: no clock, no I/O, no wire types."""
