"""Diagrams of the calls of a flow, drawn without running its tasks."""
