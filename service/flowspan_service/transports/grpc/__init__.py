"""The gRPC transport: the server, its options, statuses and streams."""
