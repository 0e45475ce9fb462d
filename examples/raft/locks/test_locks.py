"""The lock service under simulation: crashes, partitions, full disks, members that come and go.

pytest test_locks.py
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
import trio
from locks_pb2 import Acquire, Holder, Look, Order, Release, Released
from locks_trio import LocksStub
from machine import LockMachine
from service import Locks
from trioraft import Command
from trioraft.rpc import Channel, GRPCError
from trioraft.testing.simulation import simulate
from trioraft.testing.workload import SimClient, Workload

T = TypeVar("T")

HOUR = 3600


class Exclusion(Workload):
    """Clients get two locks and give them back; nobody ever sees a lock held twice."""

    def __init__(self) -> None:
        super().__init__()
        self.holders: dict[str, str] = {}
        self.tokens: dict[str, int] = {}

    async def run(self, client: SimClient) -> None:
        number = 0
        async with client.channels() as channels:
            while not client.stopping.is_set():
                number += 1
                lock = client.rng.choice(["door", "gate"])
                wish = Acquire(lock=lock, owner=f"{client.name}-{number}", seconds=HOUR)
                token = await self._get(client, channels, wish)
                await client.think()
                del self.holders[lock]  # as soon as that is sent somebody else may have it
                release = Release(lock=lock, token=token)
                await self._ask(client, channels, lambda it, what=release: it.Unlock(what))

    async def _get(self, client: SimClient, channels: list[Channel], wish: Acquire) -> int:
        while True:
            holder = await self._ask(client, channels, lambda it: it.TryLock(wish))
            if holder.owner == wish.owner:
                break
            await client.think()
        assert wish.lock not in self.holders, f"{wish} while {self.holders} has it"
        assert holder.token > self.tokens.get(wish.lock, -1), "tokens grow"
        self.holders[wish.lock] = wish.owner
        self.tokens[wish.lock] = holder.token
        self.counts["writes"] += 1
        return holder.token

    async def _ask(
        self, client: SimClient, channels: list[Channel], call: Callable[[LocksStub], Awaitable[T]]
    ) -> T:
        """Of one node after the other, until one answers: each call may be made twice.

        A call that has failed may still take effect, now or later.
        """
        while True:
            with trio.move_on_after(1):
                try:
                    return await call(LocksStub(client.rng.choice(channels)))
                except GRPCError:
                    pass
            self.counts["failures"] += 1
            await client.think()

    async def check(self, client: SimClient) -> None:
        async with client.channels() as channels:
            for lock in ("door", "gate"):
                look = Look(lock=lock)
                holder = await self._ask(client, channels, lambda it, what=look: it.WhoHas(what))
                assert holder == Holder(), "everybody has given it back"


@pytest.mark.parametrize("seed", range(5))
def test_nobody_holds_what_another_holds(seed: int) -> None:
    outcome = simulate(
        seed,
        new_machine=LockMachine,
        workload=Exclusion(),
        services=lambda node: [Locks(node, trio.current_time)],
        seconds=3.0,
    )
    assert outcome.writes > 0, outcome


async def ask(machine: LockMachine, index: int, order: Order) -> bytes:
    [reply] = await machine.apply([Command(index, 1, order.SerializeToString())])
    return reply


def test_a_lock_that_is_not_renewed_is_free_in_the_end() -> None:
    async def main() -> None:
        machine = LockMachine()
        ours = Acquire(lock="door", owner="ada", seconds=10)
        theirs = Acquire(lock="door", owner="bob", seconds=10)
        held = Holder.FromString(await ask(machine, 1, Order(now_ms=1000, acquire=ours)))
        assert held == Holder(owner="ada", token=1)
        held = Holder.FromString(await ask(machine, 2, Order(now_ms=2000, acquire=ours)))
        assert held == Holder(owner="ada", token=1), "renewed"
        held = Holder.FromString(await ask(machine, 3, Order(now_ms=11_999, acquire=theirs)))
        assert held.owner == "ada"
        held = Holder.FromString(await ask(machine, 4, Order(now_ms=12_000, acquire=theirs)))
        assert held == Holder(owner="bob", token=4)
        late = Order(now_ms=12_000, release=Release(lock="door", token=1))
        assert Released.FromString(await ask(machine, 5, late)) == Released(was_held=False)

    trio.run(main)


def test_what_is_no_order_changes_nothing() -> None:
    async def main() -> None:
        assert await LockMachine().apply([Command(1, 1, b"\xff\xff")]) == [b""]

    trio.run(main)
