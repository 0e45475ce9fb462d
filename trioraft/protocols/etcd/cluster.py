"""etcdserverpb.Cluster: who the members are."""

from __future__ import annotations

from trioraft._proto.etcd import rpc_pb2
from trioraft.machines.kv import Tag
from trioraft.rpc import Handler

from .backend import ClusterMember
from .unary import Caller

__all__ = ["ClusterService"]


class ClusterService:
    """The member list. Changing it is not offered through the etcd API."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def __mapping__(self) -> dict[str, Handler]:
        return {"/etcdserverpb.Cluster/MemberList": self._caller.handler(self._member_list)}

    async def _member_list(self, data: bytes) -> bytes:
        request = rpc_pb2.MemberListRequest.FromString(data)
        if request.linearizable:
            await self._caller.query(Tag.REVISION, b"", linearizable=True)
        members = [_member(member) for member in self._caller.backend.members()]
        response = rpc_pb2.MemberListResponse(members=members)
        return self._caller.header.encode() + response.SerializeToString()


def _member(member: ClusterMember) -> rpc_pb2.Member:
    return rpc_pb2.Member(
        ID=member.id,
        name=member.name,
        peerURLs=member.peer_urls,
        clientURLs=member.client_urls,
        isLearner=member.is_learner,
    )
