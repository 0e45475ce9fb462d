"""The counter machine."""

from __future__ import annotations

import pytest

from trioraft.machines.counter import CounterMachine
from trioraft.node.machine import Command
from trioraft.raft.errors import CorruptionError


class Pipe:
    """A snapshot's sink and its source."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = data

    async def write(self, data: bytes) -> None:
        self.data += data

    async def read(self, max_bytes: int = 1 << 20) -> bytes:
        piece, self.data = self.data[:1], self.data[1:]
        return piece


def commands(*data: bytes) -> list[Command]:
    return [Command(index, 1, item) for index, item in enumerate(data)]


async def test_it_adds_in_order() -> None:
    machine = CounterMachine()
    assert await machine.apply(commands(b"1", b"41", b"-2")) == [b"1", b"42", b"40"]
    assert await machine.query(b"") == b"40"
    assert machine.describe() == {"value": "40"}


@pytest.mark.parametrize("bad", [b"", b"one", b"--1", b"1.5", b"-", b"9" * 19, b"\xb2"])
async def test_a_bad_command_is_answered_and_changes_nothing(bad: bytes) -> None:
    machine = CounterMachine()
    first, second = await machine.apply(commands(bad, b"3"))
    assert first.startswith(b"error: ")
    assert second == b"3"


async def test_a_snapshot_comes_back() -> None:
    machine, pipe = CounterMachine(), Pipe()
    await machine.apply(commands(b"-1234"))
    await machine.snapshot(pipe)
    restored = CounterMachine()
    await restored.restore(pipe)
    assert restored.value == -1234


async def test_a_broken_snapshot_is_named() -> None:
    with pytest.raises(CorruptionError, match="counter snapshot"):
        await CounterMachine().restore(Pipe(b"xyz"))
