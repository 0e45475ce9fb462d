"""The calling end: channels, their connections, and calls."""
