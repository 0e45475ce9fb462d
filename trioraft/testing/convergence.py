"""How a run ends: everything is healed, and all nodes must come to agree."""

from __future__ import annotations

import trio

from trioraft.raft.errors import NotLeaderError, OverloadedError

from .cluster import SimCluster
from .faults import FaultInjector
from .invariants import InvariantViolatedError

__all__ = ["converge"]

_CONVERGENCE = 60.0  # virtual seconds that healed nodes get to agree


async def converge(cluster: SimCluster, faults: FaultInjector) -> None:
    """Wait until all nodes follow one leader and have applied everything it has.

    Raises InvariantViolatedError if they do not, within a minute of virtual time.
    """
    with trio.move_on_after(_CONVERGENCE):
        while not (await faults.amend() and await _agree(cluster)):
            await trio.sleep(0.05)
        return
    state = ", ".join(
        f"{name}: {node.role.name} {node.term} {node.applied_index}/{node.commit_index}"
        for name, node in cluster.nodes.items()
    )
    raise InvariantViolatedError(f"no agreement {_CONVERGENCE:g} s after all was healed ({state})")


async def _agree(cluster: SimCluster) -> bool:
    leader, members = cluster.leader(), cluster.members()
    if leader is None or not members or len(cluster.nodes) < len(cluster.names):
        return False
    with trio.move_on_after(1.0):
        try:
            index = await cluster.nodes[leader].read_index()
        except (NotLeaderError, OverloadedError):
            return False
        nodes = [cluster.nodes[name] for name in members]
        return all(node.leader == leader and node.applied_index == index for node in nodes)
    return False
