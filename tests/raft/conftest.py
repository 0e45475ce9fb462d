"""Puts this folder on the path: its rigs are what the tests below drive the core with."""
