"""Drivers of runs: they perform the steps of `flowspan.core.engine`, sync or with asyncio."""
