"""Where the service is: its address, the local service, and channels to it."""
