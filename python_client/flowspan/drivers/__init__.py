"""The drivers: they do what the engine (`flowspan.core.engine`) asks for, plainly or with asyncio."""
