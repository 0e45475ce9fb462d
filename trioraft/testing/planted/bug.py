"""What a planted bug is, and how it is planted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = ["Patches", "PlantedBug"]

#: (owner, name of an attribute, what to put there in place of the honest one), ...
Patches: TypeAlias = tuple[tuple[Any, str, Any], ...]


@dataclass(frozen=True)
class PlantedBug:
    """One mistake.

    level: `core` or `stack`, the simulation that is to find it.
    seeds: within how many it was found wherever one began to count, with room to spare.
    """

    name: str
    level: str
    what: str
    seeds: int
    patches: Callable[[], Patches]

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Make the mistake in this process for the length of the block."""
        with ExitStack() as stack:
            for owner, name, wrong in self.patches():
                stack.callback(setattr, owner, name, getattr(owner, name))
                setattr(owner, name, wrong)
            yield
