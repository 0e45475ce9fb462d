"""The serving end: listeners, connections, and calls given to handlers."""
