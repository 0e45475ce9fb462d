"""gRPC and Raft for Trio: the embedding API.

    async with trioraft.open_node(id="n1", peers="n1=127.0.0.1:7101", machine=Counter()) as node:
        await node.propose(b"+1")

`trioraft.rpc` is the gRPC stack on its own; `trioraft node` is the standalone server.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client import open_client
    from .host import (
        HostOptions,
        LinkSettings,
        Node,
        RestSettings,
        Server,
        grpc_errors,
        open_node,
        open_server,
        tune_collector,
    )
    from .node import (
        Command,
        RuntimeSettings,
        SessionLimits,
        SnapshotCapture,
        SnapshotOffer,
        SnapshotPosition,
        SnapshotSink,
        SnapshotSource,
        StateMachine,
        WriteResult,
    )
    from .raft.config import RaftConfig
    from .raft.errors import (
        ChangeInProgressError,
        ConfigurationError,
        ConfigurationMismatchError,
        CorruptionError,
        DataDirectoryError,
        EntryTooLargeError,
        ForeignLeaderError,
        GroupStoppedError,
        LeaderNotReadyError,
        NoQuorumError,
        NotLeaderError,
        NotReplicatedError,
        OverloadedError,
        ProposalDroppedError,
        SessionExpiredError,
        StagingTimeoutError,
        StorageError,
        TrioraftError,
    )
    from .raft.membership import MembershipChange
    from .raft.types import Configuration, Member, ReplicationLevel, Role, Session
    from .storage import FsyncPolicy, StorageSettings

__all__ = [
    "ChangeInProgressError",
    "Command",
    "Configuration",
    "ConfigurationError",
    "ConfigurationMismatchError",
    "CorruptionError",
    "DataDirectoryError",
    "EntryTooLargeError",
    "ForeignLeaderError",
    "FsyncPolicy",
    "GroupStoppedError",
    "HostOptions",
    "LeaderNotReadyError",
    "LinkSettings",
    "Member",
    "MembershipChange",
    "NoQuorumError",
    "Node",
    "NotLeaderError",
    "NotReplicatedError",
    "OverloadedError",
    "ProposalDroppedError",
    "RaftConfig",
    "ReplicationLevel",
    "RestSettings",
    "Role",
    "RuntimeSettings",
    "Server",
    "Session",
    "SessionExpiredError",
    "SessionLimits",
    "SnapshotCapture",
    "SnapshotOffer",
    "SnapshotPosition",
    "SnapshotSink",
    "SnapshotSource",
    "StagingTimeoutError",
    "StateMachine",
    "StorageError",
    "StorageSettings",
    "TrioraftError",
    "WriteResult",
    "grpc_errors",
    "open_client",
    "open_node",
    "open_server",
    "tune_collector",
]

# Loaded when first used, so that `import trioraft.rpc` brings in gRPC and nothing of Raft.
_HOMES = {
    "open_client": ".client",
    **dict.fromkeys(
        (
            "HostOptions",
            "LinkSettings",
            "Node",
            "RestSettings",
            "Server",
            "grpc_errors",
            "open_node",
            "open_server",
            "tune_collector",
        ),
        ".host",
    ),
    **dict.fromkeys(
        (
            "Command",
            "RuntimeSettings",
            "SessionLimits",
            "SnapshotCapture",
            "SnapshotOffer",
            "SnapshotPosition",
            "SnapshotSink",
            "SnapshotSource",
            "StateMachine",
            "WriteResult",
        ),
        ".node",
    ),
    "RaftConfig": ".raft.config",
    "MembershipChange": ".raft.membership",
    **dict.fromkeys(
        ("Configuration", "Member", "ReplicationLevel", "Role", "Session"), ".raft.types"
    ),
    **dict.fromkeys(("FsyncPolicy", "StorageSettings"), ".storage"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES.get(name, ".raft.errors"), __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
