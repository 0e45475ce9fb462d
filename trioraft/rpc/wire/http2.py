"""The one module that knows ngh2: how our endpoints configure it, and the names we use of it.

Everything else of the package sees an HTTP/2 engine without I/O: bytes in, events out, bytes out.
It hands on ngh2's classes themselves, not wrappers: this is the hottest path there is.

Flow control. ngh2 acknowledges received bytes on the stream and on the connection together. To
make a slow reader hold back its own stream only, the connection's window is made twice as large as
all stream windows together (`Limits.connection_window`), and streams are acknowledged as the
application takes their messages.
"""

from __future__ import annotations

from ngh2 import (
    Configuration,
    Connection,
    ConnectionClosed,
    DataReceived,
    ErrorCode,
    Event,
    GoAwayReceived,
    PingAcknowledged,
    PingReceived,
    RequestReceived,
    ResponseReceived,
    Role,
    Setting,
    SettingsReceived,
    StreamClosed,
    TrailersReceived,
)
from ngh2 import ConnectionProtocolError as ProtocolViolation
from ngh2 import NGH2Error as Http2Error

from trioraft.rpc.limits import Limits

__all__ = [
    "Connection",
    "ConnectionClosed",
    "DataReceived",
    "ErrorCode",
    "Event",
    "GoAwayReceived",
    "Http2Error",
    "PingAcknowledged",
    "PingReceived",
    "ProtocolViolation",
    "RequestReceived",
    "ResponseReceived",
    "SettingsReceived",
    "StreamClosed",
    "TrailersReceived",
    "client_engine",
    "max_streams_of",
    "server_engine",
]

# A header block may span one HEADERS frame and this many CONTINUATION frames of 16 KiB each.
_CONTINUATIONS = 80


def server_engine(limits: Limits) -> Connection:
    """An engine for the accepting end, its SETTINGS queued for sending."""
    engine = Connection(
        Role.SERVER,
        Configuration(
            auto_window_update=False,
            # Beyond the soft limit a call gets its status; beyond this the connection ends.
            max_inbound_header_list_size=8 * limits.max_header_list,
            max_send_header_block_length=limits.max_trailer_list,
            max_continuations=_CONTINUATIONS,
            stream_reset_rate_limit=(limits.reset_burst, limits.reset_rate),
        ),
    )
    engine.initiate_connection(
        {
            Setting.MAX_CONCURRENT_STREAMS: limits.max_concurrent_streams,
            Setting.INITIAL_WINDOW_SIZE: limits.stream_window,
            Setting.MAX_HEADER_LIST_SIZE: limits.max_header_list,
        }
    )
    engine.set_local_window_size(limits.connection_window)
    return engine


def client_engine(limits: Limits) -> Connection:
    """An engine for the connecting end, preface and SETTINGS queued for sending."""
    engine = Connection(
        Role.CLIENT,
        Configuration(
            auto_window_update=False,
            max_inbound_header_list_size=limits.max_trailer_list,
            max_send_header_block_length=limits.max_trailer_list,
            max_continuations=_CONTINUATIONS,
        ),
    )
    engine.initiate_connection(
        {
            Setting.ENABLE_PUSH: 0,
            Setting.INITIAL_WINDOW_SIZE: limits.stream_window,
            Setting.MAX_HEADER_LIST_SIZE: limits.max_trailer_list,
        }
    )
    engine.set_local_window_size(limits.connection_window)
    return engine


def max_streams_of(event: SettingsReceived) -> int | None:
    """The number of streams a peer's SETTINGS frame allows, or None if it does not say."""
    return event.settings.get(Setting.MAX_CONCURRENT_STREAMS)
