"""What differs between SQLite and PostgreSQL: connecting, bulk statements, what an error means."""
