"""What the actions of a schedule act on: a group, and which of its nodes are out of reach."""

from __future__ import annotations

import random
from collections.abc import Callable

from trioraft.raft.types import NodeId, Role

from .group import CoreGroup
from .node import CoreNode
from .shapes import random_config, random_configuration

__all__ = ["Scene"]

_MOST_DRIFT = 0.1  # of clocks, which leases of 0.9 election timeouts have to bear


class Scene:
    """One group under the hand of one generator.

    cut_off: nobody hears this node and it hears nobody.
    paused: the process of this node stands still.
    crashes, proposed, asked_reads, asked_changes: how many there have been.
    """

    def __init__(self, seed: int, say: Callable[[str], None] | None) -> None:
        self.rng = rng = random.Random(seed)
        configuration, spare = random_configuration(rng)
        config = random_config(rng)
        drift = rng.choice((0.0, _MOST_DRIFT))
        self.group = CoreGroup(configuration, config, rng, spare=spare, drift=drift, say=say)
        self.nodes = list(self.group.nodes.values())
        self.ids = [node.id for node in self.nodes]
        self.cut_off: NodeId | None = None
        self.paused: NodeId | None = None
        self.crashes = 0
        self.proposed = 0
        self.asked_reads = 0
        self.asked_changes = 0

    def say(self, line: str) -> None:
        """Tell whoever listens what happens."""
        if self.group.say is not None:
            self.group.say(line)

    def some_node(self) -> CoreNode | None:
        """A node that is up and does not stand still."""
        up = [n for n in self.nodes if n.core is not None and n.id != self.paused]
        return self.rng.choice(up) if up else None

    def some_leader(self) -> CoreNode | None:
        """The leader, or one that does not know yet that it is deposed."""
        leaders = [
            n
            for n in self.nodes
            if n.core is not None and n.core.role is Role.LEADER and n.id != self.paused
        ]
        return self.rng.choice(leaders) if leaders else None
