"""Adapters of the ports of app that live in the memory of this process."""
