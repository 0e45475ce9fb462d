"""The state that is replicated: who holds which lock, until when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from google.protobuf.message import DecodeError
from locks_pb2 import Acquire, Holder, Look, Order, Release, Released, State
from trioraft import Command, SnapshotSink, SnapshotSource, StateMachine

MAX_LOCKS = 10_000
NOBODY = Holder()


class LockMachine(StateMachine):
    """Every replica applies the same orders, and depends on nothing else: no clock, no chance.

    What is no order is answered with nothing and changes nothing: an exception would stop the
    group, on every node.
    """

    def __init__(self) -> None:
        self._state = State()

    async def apply(self, commands: Sequence[Command]) -> Sequence[bytes]:
        return [self._apply(command) for command in commands]

    def _apply(self, command: Command) -> bytes:
        try:
            order = Order.FromString(command.data)
        except DecodeError:
            return b""
        # Clocks of nodes differ: time goes on as the fastest of them says, and never back.
        self._state.now_ms = max(self._state.now_ms, order.now_ms)
        match order.WhichOneof("kind"):
            case "acquire":
                return self._acquire(order.acquire, command.index).SerializeToString()
            case "release":
                return self._release(order.release).SerializeToString()
            case _:
                return b""

    def _acquire(self, wish: Acquire, index: int) -> Holder:
        locks, now = self._state.locks, self._state.now_ms
        holder = self._holder(wish.lock, now)
        if holder.owner not in ("", wish.owner):
            return holder
        if len(locks) >= MAX_LOCKS and wish.lock not in locks:
            for name in [name for name, lock in locks.items() if lock.until_ms <= now]:
                del locks[name]
            if len(locks) >= MAX_LOCKS:
                return NOBODY
        if not holder.owner:
            # Where it is in the log: higher than every token before, and the same everywhere.
            holder = Holder(owner=wish.owner, token=index)
        locks[wish.lock].CopyFrom(State.Lock(holder=holder, until_ms=now + 1000 * wish.seconds))
        return holder

    def _release(self, wish: Release) -> Released:
        held = self._holder(wish.lock, self._state.now_ms)
        if not held.owner or held.token != wish.token:
            return Released(was_held=False)
        del self._state.locks[wish.lock]
        return Released(was_held=True)

    def _holder(self, lock: str, now: int) -> Holder:
        if lock not in self._state.locks:  # a look at a missing key would make it
            return NOBODY
        held = self._state.locks[lock]
        return held.holder if held.until_ms > now else NOBODY

    async def query(self, request: bytes) -> bytes:
        order = Order.FromString(request)
        look: Look = order.look
        now = max(self._state.now_ms, order.now_ms)
        return self._holder(look.lock, now).SerializeToString()

    async def snapshot(self, sink: SnapshotSink) -> None:
        # In the same order on all replicas, which a map by itself does not promise.
        await sink.write(self._state.SerializeToString(deterministic=True))

    async def restore(self, source: SnapshotSource) -> None:
        data = bytearray()
        while chunk := await source.read():
            data += chunk
        self._state = State.FromString(bytes(data))

    def describe(self) -> Mapping[str, str]:
        return {"locks": str(len(self._state.locks))}
