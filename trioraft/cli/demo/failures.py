"""What the demo does to its nodes while the load runs: two crashes, two returns."""

from __future__ import annotations

from collections.abc import Callable

import trio

from .cluster import LocalCluster
from .load import Load

__all__ = ["break_nodes"]

#: When things happen, as shares of the load.
KILL_LEADER, LEADER_BACK, KILL_FOLLOWER, FOLLOWER_BACK = 0.25, 0.45, 0.6, 0.8

#: Seconds a follower stays away, at least.
AWAY = 1.0


async def break_nodes(cluster: LocalCluster, load: Load, say: Callable[[str], None]) -> None:
    """Kill the leader mid-load and restart it, then a follower and restart it.

    `say` is told what happens. Returns when all nodes run again. Raises NoQuorumError if no new
    leader appears, NodeStartError if a node does not come back.
    """
    await load.wait_for(int(load.total * KILL_LEADER))
    leader = await cluster.wait_leader()
    await cluster.kill(leader)
    killed = trio.current_time()
    say(f"killed {leader}, the leader, with SIGKILL after {load.acknowledged.count} writes")
    successor = await cluster.wait_leader(other_than=leader)
    say(f"{successor} leads after {trio.current_time() - killed:.1f} s")
    await load.wait_for(int(load.total * LEADER_BACK))
    await cluster.start(leader)
    say(f"restarted {leader} on the data it had")

    await load.wait_for(int(load.total * KILL_FOLLOWER))
    current = await cluster.wait_leader()
    follower = next(node_id for node_id in cluster.nodes if node_id != current)
    await cluster.kill(follower)
    say(f"killed {follower}, a follower, with SIGKILL after {load.acknowledged.count} writes")
    await load.wait_for(int(load.total * FOLLOWER_BACK))
    await trio.sleep(AWAY)
    await cluster.start(follower)
    say(f"restarted {follower} on the data it had")
