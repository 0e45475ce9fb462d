"""InstallSnapshot in notification mode: the follower's state machine fetches the snapshot itself.

A leader says from which entry on it has a log, and asks again, one stream per question, until
the follower has a state from there on. The reply names an index for every result, 0 for none.
"""

from __future__ import annotations

from typing import Any

import trio

from trioraft._proto.ratis import raft_pb2 as pb
from trioraft.node.peers import NoticeOutcome, NoticeReply, SnapshotNotice
from trioraft.protocols.calls import unreachable
from trioraft.raft.messages import SnapshotReply, SnapshotRequest
from trioraft.raft.types import NO_INDEX, Member, NodeId

from .header import Route, check_term, read_position, reply_header
from .members import decode_configuration, decode_peer_id, encode_configuration

__all__ = ["decode_notice", "encode_notice", "encode_notice_reply", "send_notices"]

_ASK_EVERY = 1.0  # seconds
_ASK_TIMES = 60  # then the sender tells of what is its newest snapshot by then

_RESULTS = {
    NoticeOutcome.IN_PROGRESS: pb.IN_PROGRESS,
    NoticeOutcome.INSTALLED: pb.SNAPSHOT_INSTALLED,
    NoticeOutcome.ALREADY_THERE: pb.ALREADY_INSTALLED,
    NoticeOutcome.UNAVAILABLE: pb.SNAPSHOT_UNAVAILABLE,
    NoticeOutcome.NOT_LEADER: pb.NOT_LEADER,
    NoticeOutcome.MISMATCH: pb.CONF_MISMATCH,
}
_INSTALLED = (pb.SNAPSHOT_INSTALLED, pb.ALREADY_INSTALLED)


def encode_notice(route: Route, request: SnapshotRequest) -> pb.InstallSnapshotRequestProto:
    """The entry behind the snapshot is the first available one, as far as the peer is told."""
    meta = request.meta
    return pb.InstallSnapshotRequestProto(
        serverRequest=route.header(),
        leaderTerm=request.term,
        notification=pb.InstallSnapshotRequestProto.NotificationProto(
            firstAvailableTermIndex=pb.TermIndexProto(term=meta.term, index=meta.index + 1)
        ),
        lastRaftConfigurationLogEntryProto=pb.LogEntryProto(
            index=meta.configuration_index,
            configurationEntry=encode_configuration(meta.configuration),
        ),
    )


def decode_notice(message: pb.InstallSnapshotRequestProto) -> SnapshotNotice:
    """Raises ValueError. A leader that begins at entry 0 has it all, and asks all the same."""
    first, _ = read_position(message.notification.firstAvailableTermIndex)
    if first == NO_INDEX:
        raise ValueError("a notification of nothing: firstAvailableTermIndex is missing")
    last = message.lastRaftConfigurationLogEntryProto
    if last.WhichOneof("LogEntryBody") != "configurationEntry":
        raise ValueError("a snapshot without a configuration")
    if last.index < NO_INDEX:
        raise ValueError(f"configuration index {last.index}")
    return SnapshotNotice(
        term=check_term(message.leaderTerm),
        leader=decode_peer_id(message.serverRequest.requestorId),
        index=first - 1,
        configuration=decode_configuration(last.configurationEntry),
        configuration_index=last.index,
    )


def encode_notice_reply(
    message: pb.InstallSnapshotRequestProto, node_id: NodeId, reply: NoticeReply
) -> pb.InstallSnapshotReplyProto:
    """Only a result that says "installed" has an index, -1 for an empty log; the others 0."""
    result = _RESULTS[reply.outcome]
    installed = result in _INSTALLED
    header = reply_header(message.serverRequest, node_id, success=installed, echo_call_id=False)
    return pb.InstallSnapshotReplyProto(
        serverReply=header,
        term=reply.term,
        result=result,
        snapshotIndex=reply.index if installed else 0,
    )


async def send_notices(
    method: Any, peer: Member, route: Route, request: SnapshotRequest
) -> SnapshotReply:
    """Tell of a snapshot until the peer has it; `method` is the stub's installSnapshot.

    Raises PeerUnreachableError, also if the peer cannot fetch it, or takes longer than a minute:
    then it is told of the newest one. Cancelling it resets the stream; the peer fetches on.
    """
    for _ in range(_ASK_TIMES):
        with unreachable(peer):
            reply = _outcome(peer, request, await _ask(method, encode_notice(route, request)))
        if reply is not None:
            return reply
        await trio.sleep(_ASK_EVERY)
    with unreachable(peer):
        raise ValueError(f"it is still fetching snapshot {request.meta.index}")


async def _ask(
    method: Any, message: pb.InstallSnapshotRequestProto
) -> pb.InstallSnapshotReplyProto | None:
    async with method.open() as stream:
        await stream.send_message(message, end=True)
        reply: pb.InstallSnapshotReplyProto | None = await stream.recv_message()
        await stream.cancel()
        return reply


def _outcome(
    peer: Member, request: SnapshotRequest, reply: pb.InstallSnapshotReplyProto | None
) -> SnapshotReply | None:
    """None while it is in progress. Raises ValueError for everything that is no success."""
    if reply is None:
        raise ValueError("it gives no answer to a snapshot")
    if reply.result == pb.IN_PROGRESS:
        return None
    if reply.result == pb.NOT_LEADER:
        return SnapshotReply(reply.term, peer.id, False)
    if reply.result not in _INSTALLED:
        raise ValueError(f"snapshot result {pb.InstallSnapshotResult.Name(reply.result)}")
    if reply.snapshotIndex < request.meta.index:
        raise ValueError(f"it has snapshot {reply.snapshotIndex} for {request.meta.index}")
    # It may have more, but what is ours to say of it ends with our own snapshot.
    return SnapshotReply(request.term, peer.id, True, request.meta.index)
