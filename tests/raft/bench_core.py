"""How fast three cores replicate in memory: `python tests/raft/bench_core.py`.

Entries per second of CPU through propose, ready, append, persist report, reply and commit, on
one leader and two followers in one process, in batches of 64 proposals of 256 bytes.
"""

from __future__ import annotations

import time

from raft_cluster import Cluster

from trioraft.raft import RaftCore
from trioraft.raft.types import NO_INDEX, NO_TERM, Proposal, Role

BATCH, ROUNDS = 64, 2000


def exchange(cores: dict[str, RaftCore], busy: list[str], now: float) -> None:
    """Carry out Readies until there are none; disks and network take no time."""
    while busy:
        source = busy.pop()
        core = cores[source]
        if not core.has_ready():
            continue
        ready = core.ready()
        for target, message in ready.messages:
            cores[target].step(message, source, now)
            busy.append(target)
        if ready.must_persist:
            last = ready.entries[-1] if ready.entries else None
            index, term = (last.index, last.term) if last else (NO_INDEX, NO_TERM)
            core.persisted(index, term, ready.sequence)
        for target, request in ready.synced_messages:
            cores[target].step(request, source, now)
            busy.append(target)
        for token, reply in (*ready.replies, *ready.synced_replies):
            if not isinstance(reply, bool):
                cores[str(token)].step(reply, None, now)  # type: ignore[arg-type]
            busy.append(str(token))
        busy.append(source)


def main() -> None:
    cluster = Cluster.of("n1", "n2", "n3")
    cores = {node_id: cluster.core(node_id) for node_id in cluster.nodes}
    now = cores["n1"].next_deadline
    cores["n1"].tick(now)
    exchange(cores, ["n1"], now)
    leader = cores["n1"]
    assert leader.role is Role.LEADER
    batch = [Proposal(b"x" * 256)] * BATCH
    rates = []
    for _ in range(5):
        start = time.process_time()
        for _ in range(ROUNDS // 5):
            leader.propose(batch, now)
            exchange(cores, ["n1"], now)
        rates.append(BATCH * ROUNDS / 5 / (time.process_time() - start))
    assert {core.commit for core in cores.values()} == {BATCH * ROUNDS}
    print(f"three cores, batches of {BATCH}: {sorted(rates)[2]:,.0f} entries/s (median of 5)")


if __name__ == "__main__":
    main()
