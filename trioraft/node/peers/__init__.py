"""The small interface between a group's runtime and the wire: what a dialect implements.

`node/` never imports a dialect. The host hands each group a `PeerTransport` per follower to
dial out with, and hands each dialect a `PeerRouter` to find the group a request is for.

Errors: every transport failure (refused, reset, deadline, undecodable answer, any non-OK
status) is raised as `PeerUnreachableError`. It is never a Raft fact: the runtime backs off,
reconnects and probes again.
"""

from .handler import PeerHandler, PeerRouter, UnknownGroupError
from .snapshots import (
    NoticeOutcome,
    NoticeReply,
    Resume,
    SnapshotChunk,
    SnapshotChunks,
    SnapshotNotice,
)
from .transport import AppendStream, PeerConnector, PeerTransport, PeerUnreachableError

__all__ = [
    "AppendStream",
    "NoticeOutcome",
    "NoticeReply",
    "PeerConnector",
    "PeerHandler",
    "PeerRouter",
    "PeerTransport",
    "PeerUnreachableError",
    "Resume",
    "SnapshotChunk",
    "SnapshotChunks",
    "SnapshotNotice",
    "UnknownGroupError",
]
