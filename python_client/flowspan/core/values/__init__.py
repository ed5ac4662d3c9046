"""Inspection of users' values without running their code, and their forms in JSON."""
