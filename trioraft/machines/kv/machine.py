"""The replicated key-value machine: commands in, etcd responses out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import trio
from google.protobuf.message import DecodeError

from trioraft._proto.etcd import rpc_pb2
from trioraft.node.machine import Command, SnapshotSink, SnapshotSource, StateMachine

from .capture import StoreCapture
from .codec import Tag, encode_error, encode_reply
from .errors import MALFORMED, KvError
from .point import read_point
from .read import encode_selection, run_range
from .snapshot import SnapshotDecoder, hash_store
from .steps import KEYS_PER_STEP, finish_steps, run_steps
from .store import Store
from .txn import is_read_only, run_txn
from .write import check_put, put_response, run_delete, run_put

__all__ = ["KvMachine"]

_COMMANDS_PER_STEP = 256
_BYTES_AT_ONCE = 256 << 10  # of values that a read returns on the spot

# A batch that is half applied must not be given up; a read may be.
_pause_apply = trio.lowlevel.cancel_shielded_checkpoint
_pause_query = trio.lowlevel.checkpoint


_PUT = bytes((Tag.PUT,))
_RANGE = bytes((Tag.RANGE,))


class _NeedsPauseError(Exception):
    """A read touches so many keys that others must run in between."""


class KvMachine(StateMachine):
    """etcd's data model, in memory, as a state machine.

    Commands and queries are those of `codec`. Whatever bytes a command has, `apply` answers it;
    bytes that are no request are refused by every replica alike. Long work, whether many
    commands or one that touches many keys, lets other tasks run every millisecond or so.
    """

    def __init__(self) -> None:
        self._store = Store()
        self._commands: dict[int, Callable[[bytes], Awaitable[bytes]]] = {
            Tag.PUT: _awaitable(self._put),
            Tag.DELETE_RANGE: self._delete_range,
            Tag.TXN: self._txn,
            Tag.COMPACT: self._compact,
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

    async def hash(self, revision: int = 0) -> int:
        """A 32-bit hash of the store up to `revision` (0: the newest), to compare replicas."""
        return await run_steps(
            hash_store(self._store, revision or self._store.revision), _pause_query
        )

    async def apply(self, commands: Sequence[Command]) -> Sequence[bytes]:
        """Apply in order. A cancellation takes effect only after the batch."""
        replies = []
        for place, command in enumerate(commands, 1):
            replies.append(await _answer(self._commands, command.data))
            if place % _COMMANDS_PER_STEP == 0:
                await _pause_apply()
        return replies

    def apply_now(self, commands: Sequence[Command]) -> Sequence[bytes] | None:
        """Plain puts, which touch one key each. Anything else needs `apply`."""
        for command in commands:
            if command.data[:1] != _PUT:
                return None
        return [_reply(self._put, command.data[1:]) for command in commands]

    def query_now(self, request: bytes) -> bytes | None:
        """Ranges that need no pause: some hundred keys."""
        if request[:1] != _RANGE:
            return None
        try:
            return _reply(self._range_now, request[1:])
        except _NeedsPauseError:
            return None

    async def query(self, request: bytes) -> bytes:
        """Answer a read. Cancelling it is safe at any time."""
        return await _answer(self._queries, request)

    async def snapshot(self, sink: SnapshotSink) -> None:
        """Write the store, history included, in chunks of at most about 256 KiB."""
        capture = StoreCapture(self._store)
        try:
            await capture.write(sink)
        finally:
            capture.close()

    def capture(self) -> StoreCapture:
        """Take hold of the store at its revision, at once."""
        return StoreCapture(self._store)

    async def restore(self, source: SnapshotSource) -> None:
        """Replace the store. Raises CorruptionError; then, or if cancelled, nothing changes."""
        decoder = SnapshotDecoder()
        while data := await source.read():
            decoder.feed(data)
        self._store = decoder.finish()

    def _put(self, body: bytes) -> bytes:
        request = rpc_pb2.PutRequest.FromString(body)
        store = self._store
        check_put(store, request, lease_first=True)
        response = put_response(request, run_put(store, request))
        return encode_reply(store.commit(), response.SerializeToString() if response else b"")

    async def _delete_range(self, body: bytes) -> bytes:
        request = rpc_pb2.DeleteRangeRequest.FromString(body)
        response = await run_steps(run_delete(self._store, request), _pause_apply)
        return encode_reply(self._store.commit(), response.SerializeToString())

    async def _txn(self, body: bytes) -> bytes:
        request = rpc_pb2.TxnRequest.FromString(body)
        response = await run_steps(run_txn(self._store, request), _pause_apply)
        return encode_reply(self._store.commit(), response.SerializeToString())

    async def _compact(self, body: bytes) -> bytes:
        request = rpc_pb2.CompactionRequest.FromString(body)
        await run_steps(self._store.compact(request.revision), _pause_apply)
        return encode_reply(self._store.revision)

    def _range_now(self, body: bytes) -> bytes:
        request = rpc_pb2.RangeRequest.FromString(body)
        if (point := read_point(self._store, request, _BYTES_AT_ONCE)) is not None:
            return encode_reply(self._store.view_revision, point)
        selection = finish_steps(run_range(self._store, request))
        if selection is None or len(selection.pairs) > KEYS_PER_STEP:
            raise _NeedsPauseError
        if sum(len(version.value) for _, version in selection.pairs) > _BYTES_AT_ONCE:
            raise _NeedsPauseError
        return encode_reply(selection.revision, b"".join(encode_selection(selection)))

    async def _range(self, body: bytes) -> bytes:
        request = rpc_pb2.RangeRequest.FromString(body)
        selection = await run_steps(run_range(self._store, request), _pause_query)
        pieces: list[bytes] = []
        for piece in encode_selection(selection):
            if pieces:
                await _pause_query()
            pieces.append(piece)
        return encode_reply(selection.revision, b"".join(pieces))

    async def _read_txn(self, body: bytes) -> bytes:
        request = rpc_pb2.TxnRequest.FromString(body)
        if not is_read_only(request):
            raise KvError(*MALFORMED)
        response = await run_steps(run_txn(self._store, request), _pause_query)
        return encode_reply(self._store.revision, response.SerializeToString())

    async def _hash_kv(self, body: bytes) -> bytes:
        request = rpc_pb2.HashKVRequest.FromString(body)
        store = self._store
        if request.revision > 0:
            store.check_readable(request.revision)
        revision = request.revision if request.revision > 0 else store.revision
        response = rpc_pb2.HashKVResponse(
            hash=await run_steps(hash_store(store, revision), _pause_query),
            compact_revision=store.compact_revision,
            hash_revision=revision,
        )
        return encode_reply(store.revision, response.SerializeToString())

    async def _revision(self, body: bytes) -> bytes:
        return encode_reply(self._store.revision)


async def _answer(methods: Mapping[int, Callable[[bytes], Awaitable[bytes]]], data: bytes) -> bytes:
    """The reply of the method that the tag names, or what was wrong with the request."""
    method = methods.get(data[0]) if data else None
    try:
        if method is None:
            raise KvError(*MALFORMED)
        return await method(data[1:])
    except (DecodeError, KvError) as error:
        return _refusal(error)


def _reply(method: Callable[[bytes], bytes], body: bytes) -> bytes:
    """As `_answer`, at once."""
    try:
        return method(body)
    except (DecodeError, KvError) as error:
        return _refusal(error)


def _refusal(error: DecodeError | KvError) -> bytes:
    return encode_error(error if isinstance(error, KvError) else KvError(*MALFORMED))


def _awaitable(method: Callable[[bytes], bytes]) -> Callable[[bytes], Awaitable[bytes]]:
    async def call(body: bytes) -> bytes:
        return method(body)

    return call
