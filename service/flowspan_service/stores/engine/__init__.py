"""The write path of a store: the writer, its units of work, and the limits on their size."""
