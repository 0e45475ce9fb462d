"""A register of what is open: channels, servers and their connections, for channelz to show.

Handed to `serve(registry=)` and `open_channel(registry=)`; without one nothing is kept. What is in
it are the objects themselves: their counts are read when somebody asks.
"""

from .entries import (
    ChannelEntry,
    ListenSocket,
    ServerEntry,
    SubchannelEntry,
    Totals,
    registered,
)
from .register import Registry
from .trace import Severity, Trace, TraceEvent

__all__ = [
    "ChannelEntry",
    "ListenSocket",
    "Registry",
    "ServerEntry",
    "Severity",
    "SubchannelEntry",
    "Totals",
    "Trace",
    "TraceEvent",
    "registered",
]
