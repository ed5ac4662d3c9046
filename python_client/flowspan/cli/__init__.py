"""The `flowspan` command."""
