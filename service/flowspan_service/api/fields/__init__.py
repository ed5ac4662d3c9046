"""Checks and conversions of fields that the messages of several nouns share."""
