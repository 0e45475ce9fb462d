"""State machine safety where it matters: what the machines of all replicas were made to do.

Every machine of a simulated cluster is wrapped. The first replica that applies an index decides
what belongs there; the others must apply the same command, get the same reply, and leave
nothing out. That covers log, snapshots, sessions and the machine's own determinism at once. A
call of a registered session may be applied at one index only: exactly once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence

from trioraft.node.machine import (
    Command,
    SnapshotCapture,
    SnapshotOffer,
    SnapshotPosition,
    SnapshotSink,
    SnapshotSource,
    StateMachine,
)
from trioraft.raft.session_ids import birth_of, split_call_id

from .invariants import InvariantViolatedError

__all__ = ["AppliedModel", "ObservedMachine"]


class AppliedModel:
    """Every command that was applied, by index."""

    def __init__(self) -> None:
        self._commands: dict[int, tuple[int, bytes, bytes]] = {}  # term, data, reply
        self._order: list[int] = []
        self._calls: dict[tuple[bytes, int], int] = {}  # of registered clients: applied where

    @property
    def count(self) -> int:
        """Commands applied, each counted once."""
        return len(self._order)

    def replies(self) -> Iterator[bytes]:
        """What each of them was answered, in order."""
        return (self._commands[index][2] for index in self._order)

    def applied(self, name: str, last: int | None, command: Command, reply: bytes) -> None:
        """A replica has applied `command` behind `last`, None right after start or restore.

        Raises InvariantViolatedError.
        """
        index, order = command.index, self._order
        fact = (command.term, command.data, reply)
        if last is not None and index <= last:
            raise InvariantViolatedError(f"{name} applied {index} after {last}")
        if not order or index > order[-1]:
            missed = order[-1] if order and last is not None and last < order[-1] else None
            order.append(index)
            self._commands[index] = fact
            self._check_once(command)
        else:
            known = self._commands.get(index)
            if known is None:
                raise InvariantViolatedError(f"{name} applied {index}, which others left out")
            if known != fact:
                raise InvariantViolatedError(
                    f"{name} applied {fact} at {index}, where others applied {known}"
                )
            expected = index if last is None else order[bisect_right(order, last)]
            missed = expected if expected != index else None
        if missed is not None:
            raise InvariantViolatedError(f"{name} went from {last} to {index} without {missed}")

    def _check_once(self, command: Command) -> None:
        session = command.session
        if session is None or birth_of(session.client_id) is None:
            return
        call = (session.client_id, split_call_id(session.call_id)[0])
        first = self._calls.setdefault(call, command.index)
        if first != command.index:
            raise InvariantViolatedError(
                f"call {call[1]} of client {call[0].hex()} was applied at {first} and at "
                f"{command.index}"
            )


class ObservedMachine(StateMachine):
    """Forwards everything to a machine, and tells the model what was applied."""

    def __init__(self, inner: StateMachine, model: AppliedModel, name: str) -> None:
        self.inner = inner
        self._model = model
        self._name = name
        self._last: int | None = None

    async def apply(self, commands: Sequence[Command]) -> Sequence[bytes]:
        replies = await self.inner.apply(commands)
        self._tell(commands, replies)
        return replies

    def apply_now(self, commands: Sequence[Command]) -> Sequence[bytes] | None:
        replies = self.inner.apply_now(commands)
        if replies is not None:
            self._tell(commands, replies)
        return replies

    def query_now(self, request: bytes) -> bytes | None:
        return self.inner.query_now(request)

    def _tell(self, commands: Sequence[Command], replies: Sequence[bytes]) -> None:
        for command, reply in zip(commands, replies, strict=True):
            self._model.applied(self._name, self._last, command, reply)
            self._last = command.index

    async def query(self, request: bytes) -> bytes:
        return await self.inner.query(request)

    async def snapshot(self, sink: SnapshotSink) -> None:
        await self.inner.snapshot(sink)

    def capture(self) -> SnapshotCapture | None:
        return self.inner.capture()

    async def restore(self, source: SnapshotSource) -> None:
        self._last = None
        await self.inner.restore(source)

    async def fetch_snapshot(
        self, offer: SnapshotOffer, sink: SnapshotSink
    ) -> SnapshotPosition | None:
        return await self.inner.fetch_snapshot(offer, sink)

    def describe(self) -> Mapping[str, str]:
        return self.inner.describe()
