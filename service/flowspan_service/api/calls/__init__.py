"""The steps of a call, whichever method it is for, and the facts that they need."""
