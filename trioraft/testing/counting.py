"""A workload for the counter: writes under sessions, reads of every kind, watches."""

from __future__ import annotations

from trioraft.client import Client
from trioraft.node.writes import WriteResult
from trioraft.raft.errors import TrioraftError
from trioraft.raft.types import ReplicationLevel

from .invariants import InvariantViolatedError
from .levels import LevelWatch
from .linearizability import Counter, History, assert_linearizable
from .workload import SimClient, Workload

__all__ = ["CounterWorkload"]

_PATIENCE = 0.5  # virtual seconds that a client waits for a level, or a replica that is behind


class CounterWorkload(Workload):
    """Clients add to one counter with retries; each add must count exactly once.

    trioraft's client repeats a call under the same session until it is answered: there is next
    to no unknown outcome that an add counted twice could hide behind.

    Every client has one node beside, of which it asks stale reads: such a read must show at least
    what its `min_index` does, be that the client's own last write or somebody else's, and only
    sums that there were. A watch must not end before its level has come as far as it says.
    """

    def __init__(self) -> None:
        super().__init__()
        self.history = History()
        self._newest: tuple[int, int] = (-1, 0)  # index and sum of the last acknowledged add
        self._seen: list[tuple[str, int]] = []  # who has read which sum from a replica

    async def run(self, client: SimClient) -> None:
        beside = client.rng.choice(client.cluster.names)
        async with client.connect(timeout=60.0) as calls, client.connect(beside) as replica:
            own = (-1, 0)  # index and sum of this client's last add
            while not client.stopping.is_set():
                (kind,) = client.rng.choices(("add", "read", "stale", "watch"), (62, 22, 10, 6))
                try:
                    if kind == "add":
                        own = await self._add(client, calls)
                    elif kind == "read":
                        await self._read(client, calls)
                    elif kind == "stale":
                        await self._read_stale(client, replica, own)
                    else:
                        await self._watch(client, calls)
                except TrioraftError as error:
                    client.trace.record(f"{client.name} {kind}: {type(error).__name__}")
                await client.think()

    async def check(self, client: SimClient) -> None:
        async with client.connect() as calls:
            with self.history.call(client.name, "read") as call:
                call.ok(int(await calls.query(b"")))
        sums = {0, *(int(reply) for reply in client.cluster.applied.replies())}
        for name, total in self._seen:
            if total not in sums:
                raise InvariantViolatedError(f"{name} was told {total}, which was never the sum")
        assert_linearizable(self.history.operations, Counter())

    async def _add(self, client: SimClient, calls: Client) -> tuple[int, int]:
        amount = client.rng.randint(1, 9)
        with self.history.call(client.name, "add", amount) as call:
            result: WriteResult = await calls.write(b"%d" % amount)
            total = int(result.reply)
            call.ok(total)
        self.counts["writes"] += 1
        client.trace.record(f"{client.name} add {amount} -> {total} at {result.index}")
        self._newest = max(self._newest, (result.index, total))
        return result.index, total

    async def _read(self, client: SimClient, calls: Client) -> None:
        with self.history.call(client.name, "read") as call:
            total = int(await calls.query(b""))
            call.ok(total)
        self.counts["reads"] += 1
        client.trace.record(f"{client.name} read -> {total}")

    async def _read_stale(self, client: SimClient, replica: Client, own: tuple[int, int]) -> None:
        """After an own write, after anybody's, or of whatever state there is."""
        index, least = client.rng.choice((own, self._newest, (-1, 0)))
        answer = await replica.query(b"", linearizable=False, min_index=index, timeout=_PATIENCE)
        total = int(answer)
        self.counts["stale reads"] += 1
        client.trace.record(f"{client.name} read after {index} -> {total}")
        if total < least:
            raise InvariantViolatedError(
                f"{client.name} read {total} from a replica that was to have applied {index}, "
                f"where the sum was {least}"
            )
        self._seen.append((client.name, total))

    async def _watch(self, client: SimClient, calls: Client) -> None:
        index = max(self._newest[0], 0) + client.rng.randrange(2)
        level = client.rng.choice(list(ReplicationLevel))
        watch = LevelWatch(client.cluster, level)
        reached = await calls.watch(index, level, timeout=_PATIENCE)
        self.counts["watches"] += 1
        client.trace.record(f"{client.name} watched {level.name} of {index} -> {reached}")
        if reached < index:
            raise InvariantViolatedError(f"a watch of {index} ended at {reached}")
        if watch.judge(reached):
            self.counts["watches judged"] += 1
