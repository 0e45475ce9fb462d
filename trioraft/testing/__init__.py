"""Deterministic simulation of whole systems: clock, scheduling, network, disk, all from a seed.

Public, because applications built on trioraft test themselves with it too. Names live in their
modules: `simulation` and `workload` to test a state machine, `cluster` and `faults` for tests that
say what happens, `linearizability` for verdicts, `scheduler`, `network`, `disk` and `processes`
for programs of any kind, `seeds` for many runs.
"""
