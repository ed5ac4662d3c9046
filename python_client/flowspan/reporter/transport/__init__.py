"""The connection of the report stream: finding, opening and reopening it."""
