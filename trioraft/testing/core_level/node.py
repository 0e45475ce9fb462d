"""One core with what it lives on, and the messages that it is sent."""

from __future__ import annotations

from typing import Any

from trioraft.raft import RaftCore
from trioraft.raft.types import NO_INDEX, NodeId, SnapshotMeta

from .disk import CoreDisk

__all__ = ["CoreNode", "Packet"]


class Packet:
    """A message under way. The answer to a request goes back to its source."""

    __slots__ = ("message", "source", "target")

    def __init__(self, source: NodeId, target: NodeId, message: Any) -> None:
        self.source = source
        self.target = target
        self.message = message


class CoreNode:
    """One core with its disk and its clock. `core` is None while the node is down.

    rate: seconds that its clock counts in a true second.
    applied: up to where the state machine would be.
    events: how much of its core's doings has been checked.
    sending: followers that a snapshot is on its way to.
    """

    __slots__ = ("applied", "boots", "core", "disk", "events", "id", "rate", "sending")

    def __init__(self, node_id: NodeId, rate: float) -> None:
        self.id = node_id
        self.rate = rate
        self.disk = CoreDisk()
        self.core: RaftCore | None = None
        self.applied = NO_INDEX
        self.boots = 0
        self.events = -1
        self.sending: dict[NodeId, SnapshotMeta] = {}

    @property
    def up(self) -> RaftCore:
        if self.core is None:
            raise AssertionError(f"{self.id} is down")
        return self.core
