"""The rules that decide about reports and requests. Pure: facts are arguments."""
