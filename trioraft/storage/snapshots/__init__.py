"""Snapshots as files and in memory: the container, its ends, and which one counts."""
