"""Bugs to plant, so that the simulator can prove that it sees.

Each is a mistake that real systems have made. `PlantedBug.planted()` makes it for the length of
a block; the seeds of its level must find it within `seeds` of them.
"""

from .bug import PlantedBug
from .core_bugs import CORE_BUGS
from .stack_bugs import STACK_BUGS

__all__ = ["BUGS", "PlantedBug"]

BUGS = (*CORE_BUGS, *STACK_BUGS)
