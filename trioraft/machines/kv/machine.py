"""The replicated key-value machine: commands in, etcd responses out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import trio
from google.protobuf.message import DecodeError

from trioraft._proto.etcd import rpc_pb2
from trioraft.node.machine import Command, SnapshotSink, SnapshotSource, StateMachine

from .codec import Tag, encode_error, encode_reply
from .errors import MALFORMED, KvError
from .read import encode_selection, run_range
from .snapshot import SnapshotDecoder, encode_store, hash_store
from .store import Store
from .txn import is_read_only, run_txn
from .write import check_put, delete_response, put_response, run_delete, run_put

__all__ = ["KvMachine"]

_COMMANDS_PER_STEP = 256


class KvMachine(StateMachine):
    """etcd's data model, in memory, as a state machine.

    Commands and queries are those of `codec`. Whatever bytes a command has, `apply` answers
    it; bytes that are no request are refused by every replica alike. Long work (a big batch, a
    compaction, a wide range, a snapshot) lets other tasks run every few milliseconds;
    one transaction and one deletion are a single step, however many keys they touch.
    """

    def __init__(self) -> None:
        self._store = Store()
        self._commands: dict[int, Callable[[bytes], bytes]] = {
            Tag.PUT: self._put,
            Tag.DELETE_RANGE: self._delete_range,
            Tag.TXN: self._txn,
        }
        self._queries: dict[int, Callable[[bytes], Awaitable[bytes]]] = {
            Tag.RANGE: self._range,
            Tag.READ_TXN: self._read_txn,
            Tag.HASH_KV: self._hash_kv,
            Tag.REVISION: self._revision,
        }

    def describe(self) -> Mapping[str, str]:
        """Keys, revision and compact revision, for `trioraft status`."""
        store = self._store
        return {
            "keys": str(len(store.index)),
            "revision": str(store.revision),
            "compacted": str(store.compact_revision),
        }

    @property
    def revision(self) -> int:
        """The store's revision: the number of the last transaction that changed something."""
        return self._store.revision

    @property
    def key_count(self) -> int:
        """How many keys exist now."""
        return len(self._store.index)

    def hash(self, revision: int = 0) -> int:
        """A 32-bit hash of the store up to `revision` (0: the newest), to compare replicas."""
        return hash_store(self._store, revision or self._store.revision)

    async def apply(self, commands: Sequence[Command]) -> Sequence[bytes]:
        """Apply in order. A cancellation takes effect only after the batch."""
        replies = []
        for place, command in enumerate(commands, 1):
            replies.append(await self._apply_one(command.data))
            if place % _COMMANDS_PER_STEP == 0:
                await trio.lowlevel.cancel_shielded_checkpoint()
        return replies

    async def query(self, request: bytes) -> bytes:
        """Answer a read. Cancelling it is safe at any time."""
        answer = self._queries.get(request[0]) if request else None
        try:
            if answer is None:
                raise KvError(*MALFORMED)
            return await answer(request[1:])
        except DecodeError:
            return encode_error(KvError(*MALFORMED))
        except KvError as error:
            return encode_error(error)

    async def snapshot(self, sink: SnapshotSink) -> None:
        """Write the store, history included, in chunks of about 256 KiB."""
        for chunk in encode_store(self._store):
            await sink.write(chunk)

    async def restore(self, source: SnapshotSource) -> None:
        """Replace the store. Raises CorruptionError; then, or if cancelled, nothing changes."""
        decoder = SnapshotDecoder()
        while data := await source.read():
            decoder.feed(data)
        self._store = decoder.finish()

    async def _apply_one(self, data: bytes) -> bytes:
        tag = data[0] if data else 0
        try:
            if tag == Tag.COMPACT:
                return await self._compact(data[1:])
            run = self._commands.get(tag)
            if run is None:
                raise KvError(*MALFORMED)
            return run(data[1:])
        except DecodeError:
            return encode_error(KvError(*MALFORMED))
        except KvError as error:
            return encode_error(error)

    def _put(self, body: bytes) -> bytes:
        request = rpc_pb2.PutRequest.FromString(body)
        store = self._store
        check_put(store, request, lease_first=True)
        response = put_response(request, run_put(store, request))
        return encode_reply(store.commit(), response.SerializeToString() if response else b"")

    def _delete_range(self, body: bytes) -> bytes:
        request = rpc_pb2.DeleteRangeRequest.FromString(body)
        response = delete_response(request, run_delete(self._store, request))
        return encode_reply(self._store.commit(), response.SerializeToString())

    def _txn(self, body: bytes) -> bytes:
        request = rpc_pb2.TxnRequest.FromString(body)
        response = run_txn(self._store, request)
        return encode_reply(self._store.commit(), response.SerializeToString())

    async def _compact(self, body: bytes) -> bytes:
        request = rpc_pb2.CompactionRequest.FromString(body)
        for _ in self._store.compact(request.revision):
            await trio.lowlevel.cancel_shielded_checkpoint()
        return encode_reply(self._store.revision)

    async def _range(self, body: bytes) -> bytes:
        selection = run_range(self._store, rpc_pb2.RangeRequest.FromString(body))
        pieces: list[bytes] = []
        for piece in encode_selection(selection):
            if pieces:
                await trio.lowlevel.checkpoint()
            pieces.append(piece)
        return encode_reply(selection.revision, b"".join(pieces))

    async def _read_txn(self, body: bytes) -> bytes:
        request = rpc_pb2.TxnRequest.FromString(body)
        if not is_read_only(request):
            raise KvError(*MALFORMED)
        response = run_txn(self._store, request)
        return encode_reply(self._store.revision, response.SerializeToString())

    async def _hash_kv(self, body: bytes) -> bytes:
        request = rpc_pb2.HashKVRequest.FromString(body)
        store = self._store
        if request.revision > 0:
            store.check_readable(request.revision)
        revision = request.revision if request.revision > 0 else store.revision
        response = rpc_pb2.HashKVResponse(
            hash=hash_store(store, revision),
            compact_revision=store.compact_revision,
            hash_revision=revision,
        )
        return encode_reply(store.revision, response.SerializeToString())

    async def _revision(self, body: bytes) -> bytes:
        return encode_reply(self._store.revision)
