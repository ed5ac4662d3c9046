"""Protobuf encoding of events, written by hand for speed."""
