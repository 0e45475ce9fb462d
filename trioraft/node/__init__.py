"""The runtime of a consensus group: nurseries that run the core over storage and peers."""

from .forwarding import Forwarder
from .group import Group
from .machine import (
    Command,
    SnapshotCapture,
    SnapshotOffer,
    SnapshotPosition,
    SnapshotSink,
    SnapshotSource,
    StateMachine,
)
from .occupancy import Occupancy
from .peers import (
    AppendStream,
    PeerConnector,
    PeerHandler,
    PeerRouter,
    PeerTransport,
    PeerUnreachableError,
    UnknownGroupError,
)
from .rest import GroupRest, IdleMark
from .sessions import SessionLimits
from .settings import RuntimeSettings
from .shared_round import SharedRound
from .status import GroupStatus, MemberStatus
from .wakeups import Answer
from .writes import WriteResult

__all__ = [
    "Answer",
    "AppendStream",
    "Command",
    "Forwarder",
    "Group",
    "GroupRest",
    "GroupStatus",
    "IdleMark",
    "MemberStatus",
    "Occupancy",
    "PeerConnector",
    "PeerHandler",
    "PeerRouter",
    "PeerTransport",
    "PeerUnreachableError",
    "RuntimeSettings",
    "SessionLimits",
    "SharedRound",
    "SnapshotCapture",
    "SnapshotOffer",
    "SnapshotPosition",
    "SnapshotSink",
    "SnapshotSource",
    "StateMachine",
    "UnknownGroupError",
    "WriteResult",
]
