"""etcdserverpb.Maintenance: what operators ask a single member."""

from __future__ import annotations

from trioraft._proto.etcd import rpc_pb2
from trioraft.machines.kv import Tag
from trioraft.raft.errors import ConfigurationError, NotLeaderError
from trioraft.rpc import GRPCError, Handler, Status

from .cluster import BAD_LEADER_TRANSFEREE, find_member
from .errors import NO_LEADER, NOT_LEADER
from .unary import Caller

__all__ = ["API_VERSION", "MaintenanceService"]

API_VERSION = "3.4.0"
"""The etcd whose KV behaviour is offered; clients compare it with what they need."""


class MaintenanceService:
    """Status, hashes, another leader, and alarms, of which there are none."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def __mapping__(self) -> dict[str, Handler]:
        handler = self._caller.handler
        return {
            "/etcdserverpb.Maintenance/Status": handler(self._status),
            "/etcdserverpb.Maintenance/Alarm": handler(self._alarm),
            "/etcdserverpb.Maintenance/Hash": handler(self._hash),
            "/etcdserverpb.Maintenance/HashKV": handler(self._hash_kv),
            "/etcdserverpb.Maintenance/MoveLeader": handler(self._move_leader),
        }

    async def _status(self, data: bytes) -> bytes:
        """Answered by this node as it is, so that it works when nothing else does."""
        rpc_pb2.StatusRequest.FromString(data)
        backend = self._caller.backend
        header = await self._caller.query(Tag.REVISION, b"", linearizable=False)
        leader = backend.leader_member_id
        response = rpc_pb2.StatusResponse(
            version=API_VERSION,
            dbSize=backend.db_size,
            dbSizeInUse=backend.db_size,
            leader=leader,
            raftIndex=backend.raft_index,
            raftTerm=backend.term,
            raftAppliedIndex=backend.raft_applied_index,
            errors=() if leader else (NO_LEADER[1],),
            isLearner=backend.is_learner,
        )
        return header + response.SerializeToString()

    async def _alarm(self, data: bytes) -> bytes:
        """Nothing raises an alarm here, so there is none to list or to disarm."""
        request = rpc_pb2.AlarmRequest.FromString(data)
        self._caller.require_vote()
        if request.action == rpc_pb2.AlarmRequest.ACTIVATE:
            raise GRPCError(Status.UNIMPLEMENTED, "etcdserver: alarms cannot be activated")
        return self._caller.header.encode()

    async def _hash(self, data: bytes) -> bytes:
        rpc_pb2.HashRequest.FromString(data)
        hashed = rpc_pb2.HashKVResponse.FromString(await self._hash_kv(b""))
        return rpc_pb2.HashResponse(header=hashed.header, hash=hashed.hash).SerializeToString()

    async def _hash_kv(self, data: bytes) -> bytes:
        """Comparable between trioraft nodes; not the number etcd computes (see `snapshot`)."""
        rpc_pb2.HashKVRequest.FromString(data)
        return await self._caller.query(Tag.HASH_KV, data, linearizable=False)

    async def _move_leader(self, data: bytes) -> bytes:
        """Only the leader does it; clients look for it first."""
        request = rpc_pb2.MoveLeaderRequest.FromString(data)
        backend = self._caller.backend
        target = find_member(backend.members(), request.targetID)
        if backend.leader_member_id != backend.member_id:
            raise GRPCError(*NOT_LEADER)
        if target is None or target.is_learner:
            raise GRPCError(*BAD_LEADER_TRANSFEREE)
        if target.id == backend.member_id:
            return self._caller.header.encode()
        try:
            await backend.move_leader(target.name)
        except NotLeaderError:
            raise GRPCError(*NOT_LEADER) from None
        except ConfigurationError as error:
            raise GRPCError(Status.FAILED_PRECONDITION, f"etcdserver: {error}") from error
        return self._caller.header.encode()
