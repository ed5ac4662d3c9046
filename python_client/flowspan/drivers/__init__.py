"""The drivers: they do what `flowspan.core.engine` asks for, plainly or with asyncio."""
