"""Random etcd requests over few keys, so that they meet; shared by the tests of the KV machine."""

from __future__ import annotations

import random
from typing import Any

from trioraft._proto.etcd import rpc_pb2
from trioraft.machines.kv import Tag

Request = Any
"""One of the request messages of etcdserverpb.KV."""

METHODS: dict[type, str] = {
    rpc_pb2.RangeRequest: "Range",
    rpc_pb2.PutRequest: "Put",
    rpc_pb2.DeleteRangeRequest: "DeleteRange",
    rpc_pb2.TxnRequest: "Txn",
    rpc_pb2.CompactionRequest: "Compact",
}
RESPONSES: dict[type, Any] = {
    rpc_pb2.RangeRequest: rpc_pb2.RangeResponse,
    rpc_pb2.PutRequest: rpc_pb2.PutResponse,
    rpc_pb2.DeleteRangeRequest: rpc_pb2.DeleteRangeResponse,
    rpc_pb2.TxnRequest: rpc_pb2.TxnResponse,
    rpc_pb2.CompactionRequest: rpc_pb2.CompactionResponse,
}
COMMAND_TAGS: dict[type, Tag] = {
    rpc_pb2.PutRequest: Tag.PUT,
    rpc_pb2.DeleteRangeRequest: Tag.DELETE_RANGE,
    rpc_pb2.TxnRequest: Tag.TXN,
    rpc_pb2.CompactionRequest: Tag.COMPACT,
}
KEYS = [b"a", b"aa", b"ab", b"b", b"b\0", b"c", b"\xff", b"\0"]


class RequestMaker:
    """Makes requests from a seed. `revision` is where the store is, to aim reads at the past.

    etcd 3.4 checks a transaction's puts with ignore_value or ignore_lease before it runs the
    deletions in front of them, and crashes if one took the key away. That takes a deletion "from
    key on", which it does not count as a write of the key; so no transaction has both.
    """

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.revision = 1
        self._may_ignore = True
        self._may_delete_to_the_end = True

    def request(self) -> Request:
        """Any request: about half of them writes."""
        kind = self.rng.choices(
            [self.put, self.delete, self.txn, self.range, self.compact], [30, 10, 25, 33, 2]
        )[0]
        return kind()

    def key(self) -> bytes:
        return self.rng.choice(KEYS)

    def end(self) -> bytes:
        return self.rng.choice([b"", b"", b"", b"\0", self.key(), b"b", b"d"])

    def value(self) -> bytes:
        return self.rng.choice([b"", b"x", b"y", b"zz"])

    def flag(self, percent: int) -> bool:
        return self.rng.randrange(100) < percent

    def some_revision(self) -> int:
        return self.rng.randint(max(-2, self.revision - 12), self.revision + 1)

    def put(self) -> Request:
        return rpc_pb2.PutRequest(
            key=b"" if self.flag(1) else self.key(),
            value=self.value(),
            lease=77 if self.flag(2) else 0,
            prev_kv=self.flag(40),
            ignore_value=self._may_ignore and self.flag(6),
            ignore_lease=self._may_ignore and self.flag(6),
        )

    def delete(self) -> Request:
        end = self.end() if self.flag(60) else b""
        if end == b"\0" and not self._may_delete_to_the_end:
            end = b"d"
        return rpc_pb2.DeleteRangeRequest(
            key=b"" if self.flag(1) else self.key(), range_end=end, prev_kv=self.flag(50)
        )

    def range(self) -> Request:
        request = rpc_pb2.RangeRequest(
            key=b"" if self.flag(1) else self.key(),
            range_end=self.end(),
            limit=self.rng.choice([0, 0, 0, 1, 2, 5, -1]),
            revision=self.some_revision() if self.flag(40) else 0,
            serializable=self.flag(20),
            keys_only=self.flag(15),
            count_only=self.flag(10),
        )
        if self.flag(35):
            request.sort_order = self.rng.randrange(3)
            request.sort_target = self.rng.randrange(5)
        for bound in ("min_mod", "max_mod", "min_create", "max_create"):
            if self.flag(8):
                setattr(request, f"{bound}_revision", self.some_revision())
        return request

    def compact(self) -> Request:
        back = self.rng.choice([0, 2, 5, 9, -1, 10**6])
        return rpc_pb2.CompactionRequest(revision=self.revision - back, physical=True)

    def compare(self) -> rpc_pb2.Compare:
        compare = rpc_pb2.Compare(
            result=self.rng.randrange(4),
            target=self.rng.randrange(5),
            key=b"" if self.flag(1) else self.key(),
            range_end=self.end() if self.flag(30) else b"",
        )
        match compare.target:
            case rpc_pb2.Compare.VERSION:
                compare.version = self.rng.randrange(4)
            case rpc_pb2.Compare.CREATE:
                compare.create_revision = max(0, self.some_revision())
            case rpc_pb2.Compare.MOD:
                compare.mod_revision = max(0, self.some_revision())
            case rpc_pb2.Compare.VALUE:
                compare.value = self.value()
            case _:
                compare.lease = self.rng.randrange(2)
        if self.flag(3):
            compare.ClearField(compare.WhichOneof("target_union"))
        return compare

    def txn(self) -> Request:
        self._may_ignore = self.flag(50)
        self._may_delete_to_the_end = not self._may_ignore
        request = self._txn(0)
        self._may_ignore = self._may_delete_to_the_end = True
        return request

    def _txn(self, depth: int) -> Request:
        most = 3 - depth
        return rpc_pb2.TxnRequest(
            compare=[self.compare() for _ in range(self.rng.randrange(3))],
            success=[self.operation(depth) for _ in range(self.rng.randint(0, most))],
            failure=[self.operation(depth) for _ in range(self.rng.randint(0, most))],
        )

    def operation(self, depth: int) -> rpc_pb2.RequestOp:
        kind = self.rng.choices(["range", "put", "delete", "txn", "none"], [35, 35, 15, 14, 1])[0]
        match kind:
            case "range":
                return rpc_pb2.RequestOp(request_range=self.range())
            case "put":
                return rpc_pb2.RequestOp(request_put=self.put())
            case "delete":
                return rpc_pb2.RequestOp(request_delete_range=self.delete())
            case "txn" if depth < 2:
                return rpc_pb2.RequestOp(request_txn=self._txn(depth + 1))
            case _:
                return rpc_pb2.RequestOp()
