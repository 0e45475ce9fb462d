"""What the etcd services need of a node; the host implements it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Answer", "Backend", "ClusterMember"]


@dataclass(frozen=True, slots=True)
class ClusterMember:
    """One row of `etcdctl member list`. The URLs are complete: `http://127.0.0.1:7101`."""

    id: int
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    is_learner: bool = False


class Answer(Protocol):
    """Where the outcome of a call without a task goes: one of the two is called, once."""

    def resolve(self, reply: bytes, /) -> None: ...

    def fail(self, error: BaseException, /) -> None: ...


class Backend(Protocol):
    """A node that runs `machines.kv.KvMachine`. Ids are non-zero unsigned 64-bit integers.

    `propose` and `query` may raise NotLeaderError, NoQuorumError, OverloadedError,
    EntryTooLargeError, ProposalDroppedError and GroupStoppedError; each becomes the status that
    etcd has for it. Their bytes are those of `machines.kv.codec`.
    """

    @property
    def cluster_id(self) -> int:
        """The same on every node of the cluster."""

    @property
    def member_id(self) -> int:
        """This node."""

    @property
    def leader_member_id(self) -> int:
        """The leader as far as this node knows, 0 if it knows none."""

    @property
    def term(self) -> int:
        """The current Raft term, below 2**64."""

    @property
    def raft_index(self) -> int:
        """The commit index that this node knows, counted from 1; 0 if nothing is committed."""

    @property
    def raft_applied_index(self) -> int:
        """The last index that the machine has applied, counted from 1; 0 if none."""

    @property
    def db_size(self) -> int:
        """Bytes that this group takes on this node's disk."""

    @property
    def is_learner(self) -> bool:
        """Whether this node has no vote; it then serves only serializable reads."""

    async def propose(self, command: bytes) -> bytes:
        """Have a command applied; forwarded to the leader if this node follows.

        Returns the machine's reply. After a cancellation the command may still be applied.
        """

    async def query(self, request: bytes, *, linearizable: bool) -> bytes:
        """Ask the machine, after a read index from the leader if `linearizable`.

        Returns the machine's reply. Cancelling it is safe.
        """

    def propose_for(self, answer: Answer, command: bytes) -> bool:
        """`propose` without a task, if this node can do it alone: the outcome goes to `answer`.

        False: it cannot, or not now; nothing has happened, use `propose`. Never waits.
        """

    def query_for(self, answer: Answer, request: bytes) -> bool:
        """A linearizable `query` without a task, as `propose_for` is to `propose`."""

    def flush_later(self, flush: Callable[[], None]) -> None:
        """Call `flush` once the work in hand is done. For an `Answer`, when it has its outcome."""

    def members(self) -> Sequence[ClusterMember]:
        """The current configuration, in a fixed order."""

    # Changes of members raise what the runtime raises: ConfigurationError, ChangeInProgressError,
    # StagingTimeoutError, NoQuorumError (nothing has changed), ProposalDroppedError (who knows).

    async def add_member(self, address: str, *, learner: bool) -> ClusterMember:
        """Add the node that waits at `host:port`; its name is what it calls itself."""

    async def remove_member(self, name: str) -> None:
        """Remove a member."""

    async def move_member(self, name: str, address: str) -> None:
        """Have a member at another `host:port`."""

    async def promote_member(self, name: str) -> None:
        """Make a voter of a learner, once it has caught up."""

    async def move_leader(self, name: str) -> None:
        """Hand leadership over; on the leader only. Raises NotLeaderError, too."""
