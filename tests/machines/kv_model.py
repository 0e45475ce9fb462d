"""A key-value model too simple to be wrong: a list of all writes, searched from the start.

It answers plain (not nested) requests of etcd's KV service, sort and filters left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from trioraft._proto.etcd import kv_pb2, rpc_pb2


class Write(NamedTuple):
    revision: int
    key: bytes
    value: bytes | None
    """None: deleted."""


@dataclass
class Model:
    revision: int = 1
    compacted: int = -1
    writes: list[Write] = field(default_factory=list)

    def in_range(self, key: bytes, start: bytes, end: bytes) -> bool:
        if not end:
            return key == start
        return start <= key and (end == b"\0" or key < end)

    def kv(self, key: bytes, at: int) -> kv_pb2.KeyValue | None:
        """The pair as it was at a revision."""
        found = None
        for write in self.writes:
            if write.key != key or write.revision > at:
                continue
            if write.value is None:
                found = None
                continue
            found = kv_pb2.KeyValue(
                key=key,
                value=write.value,
                create_revision=found.create_revision if found else write.revision,
                mod_revision=write.revision,
                version=found.version + 1 if found else 1,
            )
        return found

    def kvs(self, start: bytes, end: bytes, at: int) -> list[kv_pb2.KeyValue]:
        keys = sorted({w.key for w in self.writes if self.in_range(w.key, start, end)})
        return [kv for key in keys if (kv := self.kv(key, at)) is not None]

    def range(self, request: rpc_pb2.RangeRequest) -> rpc_pb2.RangeResponse | str:
        at = request.revision if request.revision > 0 else self.revision
        if at > self.revision:
            return "etcdserver: mvcc: required revision is a future revision"
        if at < self.compacted:
            return "etcdserver: mvcc: required revision has been compacted"
        found = self.kvs(request.key, request.range_end, at)
        response = rpc_pb2.RangeResponse(count=len(found))
        if request.count_only:
            return response
        if request.limit > 0:
            response.more = len(found) > request.limit
            found = found[: request.limit]
        for kv in found:
            if request.keys_only:
                kv.ClearField("value")
        response.kvs.extend(found)
        return response

    def put(self, request: rpc_pb2.PutRequest) -> rpc_pb2.PutResponse | str:
        if not request.key:
            return "etcdserver: key is not provided"
        if request.lease:
            return "etcdserver: requested lease not found"
        before = self.kv(request.key, self.revision)
        if (request.ignore_value or request.ignore_lease) and before is None:
            return "etcdserver: key not found"
        self.revision += 1
        value = before.value if request.ignore_value and before else request.value
        self.writes.append(Write(self.revision, request.key, value))
        return rpc_pb2.PutResponse(prev_kv=before if request.prev_kv else None)

    def delete(self, request: rpc_pb2.DeleteRangeRequest) -> rpc_pb2.DeleteRangeResponse:
        found = self.kvs(request.key, request.range_end, self.revision)
        if found:
            self.revision += 1
        self.writes.extend(Write(self.revision, kv.key, None) for kv in found)
        return rpc_pb2.DeleteRangeResponse(
            deleted=len(found), prev_kvs=found if request.prev_kv else ()
        )

    def compact(self, request: rpc_pb2.CompactionRequest) -> rpc_pb2.CompactionResponse | str:
        """The model never forgets; it only refuses."""
        if request.revision <= self.compacted:
            return "etcdserver: mvcc: required revision has been compacted"
        if request.revision > self.revision:
            return "etcdserver: mvcc: required revision is a future revision"
        self.compacted = request.revision
        return rpc_pb2.CompactionResponse()
