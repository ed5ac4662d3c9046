"""The differences of SQLite and PostgreSQL: connections, bulk statements, errors."""
