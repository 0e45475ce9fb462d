"""Deterministic simulation of whole systems: clock, scheduling, network, disk, all from a seed.

Public, because applications built on trioraft test themselves with it too. Names live in
their modules: `scheduler`, `trace`, `network`, `disk`.
"""
