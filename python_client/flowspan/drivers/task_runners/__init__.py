"""Task runners, which run submitted tasks, and the path of a task to its runner."""
