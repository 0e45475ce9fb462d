"""The errors of trioraft: one small hierarchy, each with what the caller can do next.

It lives at the bottom of the import order so that the core, the log and the runtime
raise members of one family; applications import the same names from `trioraft`.
"""

from __future__ import annotations

__all__ = [
    "ChangeInProgressError",
    "ConfigurationError",
    "ConfigurationMismatchError",
    "CorruptionError",
    "DataDirectoryError",
    "EntryTooLargeError",
    "ForeignLeaderError",
    "GroupStoppedError",
    "InvariantError",
    "LeaderNotReadyError",
    "NoQuorumError",
    "NotLeaderError",
    "NotReplicatedError",
    "OverloadedError",
    "ProposalDroppedError",
    "SessionExpiredError",
    "StagingTimeoutError",
    "StorageError",
    "TrioraftError",
]


class TrioraftError(Exception):
    """Base of every error that trioraft raises on purpose."""


class ConfigurationError(TrioraftError):
    """A setting or a peer list cannot work; the message names the field and the value."""


class NotLeaderError(TrioraftError):
    """This node does not lead the group. Ask `leader`, or wait for one if it is None."""

    def __init__(self, leader: str | None = None, message: str | None = None) -> None:
        super().__init__(message or f"not the leader; leader is {leader or 'unknown'}")
        self.leader = leader


class ForeignLeaderError(NotLeaderError):
    """The leader is a server of another make, which takes nothing from followers.

    Nothing has happened. Ask it with its own client, or hand leadership over to a trioraft.
    """


class LeaderNotReadyError(TrioraftError):
    """The leader has not committed anything in its term yet. Retry the same node soon."""


class ChangeInProgressError(TrioraftError):
    """The members are being changed already. Wait until that is done, look, then retry."""


class ConfigurationMismatchError(TrioraftError):
    """The members are not those that the caller expected. Look at them, then decide again."""


class StagingTimeoutError(TrioraftError):
    """A new voter has not caught up, so nothing was changed. Check that it runs, then retry."""


class ProposalDroppedError(TrioraftError):
    """Leadership was lost before the outcome of a proposal was known.

    The proposal may or may not have been committed. Retry it with the same session
    (exactly-once), or read back before retrying.
    """


class SessionExpiredError(TrioraftError):
    """A write of a session was refused because the group does not remember that session any more.

    This attempt was not applied; an earlier attempt of the same call may have been. Read back
    to find out, then go on with a new session.
    """


class NotReplicatedError(TrioraftError):
    """A watched entry had not come as far as wanted in time. It still may; watch it again."""


class NoQuorumError(TrioraftError):
    """A majority could not be reached in time. Check the other nodes, then retry."""


class OverloadedError(TrioraftError):
    """A bounded queue is full. Back off, then retry."""


class EntryTooLargeError(TrioraftError):
    """A proposal is above the entry size limit. Split it, or raise the limit on every node."""


class GroupStoppedError(TrioraftError):
    """The group has stopped on this node; its `__cause__` says why. Other groups go on."""


class InvariantError(TrioraftError):
    """Something that Raft proves impossible has happened: a bug, here or in a peer.

    The group stops at once, before the damage can spread. Keep the data directories and the
    logs of every node of the group; restarting is safe but will not say what went wrong.
    """


class StorageError(TrioraftError):
    """The disk refused an operation. The group stops: a failed fsync is never retried."""


class DataDirectoryError(StorageError):
    """The data directory is in use, is not ours, or belongs to another node or cluster."""


class CorruptionError(StorageError):
    """Stored bytes are not what was written; names the file and the offset (bytes)."""

    def __init__(self, file: str, offset: int, reason: str) -> None:
        super().__init__(
            f"{file}: corrupt at offset {offset}: {reason}. "
            "Nothing was changed. Restore this node from its peers: move its data directory "
            "away and start it empty, one node at a time."
        )
        self.file = file
        self.offset = offset
        self.reason = reason
