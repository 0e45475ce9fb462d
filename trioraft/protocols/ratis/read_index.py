"""readIndex: how a follower's linearizable read learns from the leader what to wait for.

Between trioraft nodes `local/node.proto` carries the question; this is for leaders and followers
of another make. A request names the client whose read it is; without one of its own, the node asks
in the name of nobody. Source: ratis-server 3.2.2, RaftServerImpl.readIndexAsync.
"""

from __future__ import annotations

from typing import Any

from trioraft._proto.ratis import raft_pb2 as pb
from trioraft._proto.ratis.grpc_grpc import RaftServerProtocolServiceStub
from trioraft.node.peers import PeerHandler
from trioraft.protocols.calls import unreachable
from trioraft.raft.errors import LeaderNotReadyError, NotLeaderError
from trioraft.raft.types import NO_INDEX, Member
from trioraft.rpc import Channel

from .entries import NOBODY
from .header import Route, reply_header

__all__ = ["answer_read_index", "ask_read_index"]

_TIMEOUT = 3.0  # seconds, as Ratis's own followers wait


async def ask_read_index(channel: Channel, route: Route, leader: Member) -> int:
    """Ask `leader`. Raises NotLeaderError if it says no, PeerUnreachableError.

    Cancelling is safe.
    """
    untyped: Any = channel  # grpclib's generated stub is annotated with grpclib's own channel
    client = route.header()
    client.requestorId = NOBODY
    request = pb.ReadIndexRequestProto(
        serverRequest=route.header(),
        clientRequest=pb.RaftClientRequestProto(rpcRequest=client, read=pb.ReadRequestTypeProto()),
    )
    with unreachable(leader):
        stub = RaftServerProtocolServiceStub(untyped)
        reply: pb.ReadIndexReplyProto = await stub.readIndex(request, timeout=_TIMEOUT)
        if reply.serverReply.success and reply.readIndex < NO_INDEX:
            raise ValueError(f"read index {reply.readIndex}")
    if not reply.serverReply.success:
        raise NotLeaderError(None, f"{leader.id} gives no read index: it does not lead")
    index: int = reply.readIndex
    return index


async def answer_read_index(
    handler: PeerHandler, request: pb.ReadIndexRequestProto
) -> pb.ReadIndexReplyProto:
    """Answer a follower. Java is told no as it says no: without success, index -1."""
    try:
        index = await handler.handle_read_index()
        success = True
    except (NotLeaderError, LeaderNotReadyError):
        index, success = NO_INDEX, False
    header = reply_header(
        request.serverRequest, handler.node_id, success=success, echo_call_id=False
    )
    return pb.ReadIndexReplyProto(serverReply=header, readIndex=index)
