"""Targets, and the addresses behind them."""
