"""Calls that are made again: retries, hedging, and what is kept for them."""
