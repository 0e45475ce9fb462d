"""What the connections of a server have in common."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trioraft.rpc.compression import Compression
from trioraft.rpc.limits import Limits
from trioraft.rpc.wire.timers import Timers

from .budget import Budget
from .life.rules import ConnectionLifetime, ServerKeepalive
from .overdue import Overdue

if TYPE_CHECKING:
    from .life.managed import ManagedConnection
    from .service import Methods

__all__ = ["Shared"]


@dataclass
class Shared:
    """One per server.

    Attributes:
        rng: Source of the jitter of ages.
        connections: Those whose tasks run, oldest first.
        leaving: Why the server takes no more calls, and until when those that are open may go on.
    """

    methods: Methods
    limits: Limits
    compression: Compression
    lifetime: ConnectionLifetime = field(default_factory=ConnectionLifetime)
    keepalive: ServerKeepalive = field(default_factory=ServerKeepalive)
    rng: random.Random = field(default_factory=random.Random)
    overdue: Overdue = field(default_factory=Overdue)
    timers: Timers = field(default_factory=Timers)
    connections: dict[ManagedConnection, None] = field(default_factory=dict)
    leaving: tuple[str, float] | None = None

    def __post_init__(self) -> None:
        self.budget: Budget = Budget(self.limits.max_handlers, self.connections)
