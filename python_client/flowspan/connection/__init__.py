"""Connections to the service: its address, the local service, and gRPC channels."""
