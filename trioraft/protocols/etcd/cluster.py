"""etcdserverpb.Cluster: who the members are, and changes of them.

etcd announces a member by its URL alone and learns its name when it starts. Here the node is
started first (`trioraft node --join`), waits, and is asked at that URL who it is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from urllib.parse import urlsplit

from trioraft._proto.etcd import rpc_pb2
from trioraft.machines.kv import Tag
from trioraft.raft.errors import ConfigurationError, StagingTimeoutError
from trioraft.rpc import GRPCError, Handler, Status

from .backend import ClusterMember
from .unary import Caller

__all__ = ["BAD_LEADER_TRANSFEREE", "ClusterService", "find_member"]

# etcd's own words (api/v3rpc/rpctypes/error.go): clients compare them.
BAD_LEADER_TRANSFEREE = (Status.FAILED_PRECONDITION, "etcdserver: bad leader transferee")
_MEMBER_NOT_FOUND = (Status.NOT_FOUND, "etcdserver: member not found")
_PEER_URL_EXISTS = (Status.FAILED_PRECONDITION, "etcdserver: Peer URLs already exists")
_BAD_URLS = (Status.INVALID_ARGUMENT, "etcdserver: given member URLs are invalid")
_NOT_A_LEARNER = (
    Status.FAILED_PRECONDITION,
    "etcdserver: can only promote a learner member",
)
_LEARNER_NOT_READY = (
    Status.FAILED_PRECONDITION,
    "etcdserver: can only promote a learner member which is in sync with leader",
)


class ClusterService:
    """The member list and its changes. A change answers when it is committed."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def __mapping__(self) -> dict[str, Handler]:
        handler = self._caller.handler
        return {
            "/etcdserverpb.Cluster/MemberAdd": handler(self._member_add),
            "/etcdserverpb.Cluster/MemberRemove": handler(self._member_remove),
            "/etcdserverpb.Cluster/MemberUpdate": handler(self._member_update),
            "/etcdserverpb.Cluster/MemberList": handler(self._member_list),
            "/etcdserverpb.Cluster/MemberPromote": handler(self._member_promote),
        }

    async def _member_list(self, data: bytes) -> bytes:
        request = rpc_pb2.MemberListRequest.FromString(data)
        if request.linearizable:
            await self._caller.query(Tag.REVISION, b"", linearizable=True)
        return self._response(rpc_pb2.MemberListResponse(members=self._members()))

    async def _member_add(self, data: bytes) -> bytes:
        request = rpc_pb2.MemberAddRequest.FromString(data)
        address = _address(request.peerURLs)
        backend = self._caller.backend
        if any(_address(member.peer_urls) == address for member in backend.members()):
            raise GRPCError(*_PEER_URL_EXISTS)
        try:
            added = await backend.add_member(address, learner=request.isLearner)
        except ConfigurationError as error:
            raise GRPCError(Status.FAILED_PRECONDITION, f"etcdserver: {error}") from error
        except StagingTimeoutError as error:
            raise GRPCError(Status.UNAVAILABLE, f"etcdserver: {error}") from error
        return self._response(
            rpc_pb2.MemberAddResponse(member=_member(added), members=self._members())
        )

    async def _member_remove(self, data: bytes) -> bytes:
        request = rpc_pb2.MemberRemoveRequest.FromString(data)
        await self._change(self._find(request.ID), self._caller.backend.remove_member)
        return self._response(rpc_pb2.MemberRemoveResponse(members=self._members()))

    async def _member_update(self, data: bytes) -> bytes:
        request = rpc_pb2.MemberUpdateRequest.FromString(data)
        member, address = self._find(request.ID), _address(request.peerURLs)
        others = (row for row in self._caller.backend.members() if row.id != member.id)
        if any(_address(row.peer_urls) == address for row in others):
            raise GRPCError(*_PEER_URL_EXISTS)
        backend = self._caller.backend
        await self._change(member, lambda name: backend.move_member(name, address))
        return self._response(rpc_pb2.MemberUpdateResponse(members=self._members()))

    async def _member_promote(self, data: bytes) -> bytes:
        request = rpc_pb2.MemberPromoteRequest.FromString(data)
        member = self._find(request.ID)
        if not member.is_learner:
            raise GRPCError(*_NOT_A_LEARNER)
        try:
            await self._change(member, self._caller.backend.promote_member)
        except StagingTimeoutError:
            raise GRPCError(*_LEARNER_NOT_READY) from None
        return self._response(rpc_pb2.MemberPromoteResponse(members=self._members()))

    async def _change(
        self, member: ClusterMember, change: Callable[[str], Awaitable[None]]
    ) -> None:
        try:
            await change(member.name)
        except ConfigurationError as error:
            raise GRPCError(Status.FAILED_PRECONDITION, f"etcdserver: {error}") from error

    def _find(self, member_id: int) -> ClusterMember:
        member = find_member(self._caller.backend.members(), member_id)
        if member is None:
            raise GRPCError(*_MEMBER_NOT_FOUND)
        return member

    def _members(self) -> list[rpc_pb2.Member]:
        return [_member(member) for member in self._caller.backend.members()]

    def _response(
        self,
        body: rpc_pb2.MemberListResponse
        | rpc_pb2.MemberAddResponse
        | rpc_pb2.MemberRemoveResponse
        | rpc_pb2.MemberUpdateResponse
        | rpc_pb2.MemberPromoteResponse,
    ) -> bytes:
        return self._caller.header.encode() + body.SerializeToString()


def find_member(members: Iterable[ClusterMember], member_id: int) -> ClusterMember | None:
    return next((member for member in members if member.id == member_id), None)


def _address(urls: Iterable[str]) -> str:
    """`host:port` of the first URL; a node has one address. Raises GRPCError for what is none."""
    url = next(iter(urls), "")
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme != "http" or not parts.hostname or port is None or parts.path.strip("/"):
        raise GRPCError(*_BAD_URLS)
    return parts.netloc


def _member(member: ClusterMember) -> rpc_pb2.Member:
    return rpc_pb2.Member(
        ID=member.id,
        name=member.name,
        peerURLs=member.peer_urls,
        clientURLs=member.client_urls,
        isLearner=member.is_learner,
    )
