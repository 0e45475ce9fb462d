"""A counter: the smallest useful state machine, written to be read first.

A command is a decimal number to add (b"1", b"-5"), and its reply is the new value; any query is
answered with the value. Both are decimal text, so it can be tried by hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trioraft.node.machine import Command, SnapshotSink, SnapshotSource, StateMachine
from trioraft.raft.errors import CorruptionError

__all__ = ["CounterMachine"]

_MAX_DIGITS = 18


class CounterMachine(StateMachine):
    """Adds up numbers.

    A replicated state machine meets every command on every replica, so a bad one must not
    raise: it is answered with b"error: ..." and changes nothing.
    """

    def __init__(self) -> None:
        self.value = 0

    async def apply(self, commands: Sequence[Command]) -> Sequence[bytes]:
        """Add each command's number in order; the replies are the running totals."""
        return [self._add(command.data) for command in commands]

    async def query(self, request: bytes) -> bytes:
        """The value; `request` is ignored."""
        return b"%d" % self.value

    async def snapshot(self, sink: SnapshotSink) -> None:
        """Write the value."""
        await sink.write(b"%d" % self.value)

    async def restore(self, source: SnapshotSource) -> None:
        """Take over the value of a snapshot. Raises CorruptionError if it holds none."""
        text = b""
        while data := await source.read():
            text += data
        try:
            self.value = int(text)
        except ValueError:
            raise CorruptionError("counter snapshot", 0, f"{text[:40]!r} is no number") from None

    def describe(self) -> Mapping[str, str]:
        """The value, for `trioraft status`."""
        return {"value": str(self.value)}

    def _add(self, data: bytes) -> bytes:
        digits = data.removeprefix(b"-")
        if not digits.isdigit() or len(digits) > _MAX_DIGITS:
            return b"error: a command is a decimal number of at most 18 digits"
        self.value += int(data)
        return b"%d" % self.value
