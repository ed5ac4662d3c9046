"""Drawings of the calls of a flow, made without running its tasks."""
