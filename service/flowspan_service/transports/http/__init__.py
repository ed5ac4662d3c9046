"""The HTTP transport: Connect, gRPC-Web, and a few pages for people and tools.

Imported only if the HTTP port is on.
"""
