"""What has happened to a channel, a subchannel or a server, the latest events of it.

Calls leave no trace: events are changes of state, of addresses and of connections.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import IntEnum

import trio

__all__ = ["MAX_EVENTS", "Severity", "Trace", "TraceEvent"]

#: Events kept of each entry, the latest, and characters of each.
MAX_EVENTS = 20
_MAX_DESCRIPTION = 200


class Severity(IntEnum):
    """As `grpc.channelz.v1.ChannelTraceEvent.Severity` numbers them."""

    INFO = 1
    WARNING = 2
    ERROR = 3


@dataclass(frozen=True, slots=True)
class TraceEvent:
    """Something that has happened.

    Attributes:
        at: Trio's time.
        subchannel: Id and name of the subchannel that it is about, which may be gone by now.
    """

    at: float
    description: str
    severity: Severity = Severity.INFO
    subchannel: tuple[int, str] | None = None


class Trace:
    """The latest `MAX_EVENTS` events; older ones are only counted."""

    def __init__(self) -> None:
        #: When it began, Trio's time.
        self.created: float = trio.current_time()
        self.events: deque[TraceEvent] = deque(maxlen=MAX_EVENTS)
        #: Events so far, those that are forgotten included.
        self.logged: int = 0

    def add(
        self,
        description: str,
        severity: Severity = Severity.INFO,
        subchannel: tuple[int, str] | None = None,
    ) -> None:
        """It happens now. A long description is cut."""
        self.logged += 1
        text = description[:_MAX_DESCRIPTION]
        self.events.append(TraceEvent(trio.current_time(), text, severity, subchannel))
