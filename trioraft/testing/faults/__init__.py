"""What goes wrong in a simulated cluster, and when: chosen by the seed.

Each run has a choice of its own among the kinds of faults, because faults hide each other: a
cluster that is always partitioned never shows what a full disk does to it.
"""

from .injector import FAULTS, FaultInjector, choose_faults

__all__ = ["FAULTS", "FaultInjector", "choose_faults"]
