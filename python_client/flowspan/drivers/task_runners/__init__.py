"""Task runners: where submitted tasks run, and the way there."""
