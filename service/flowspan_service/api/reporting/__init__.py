"""The reports of processes: their events, the stream, acks and commands."""
