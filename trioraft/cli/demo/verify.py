"""Reading everything back, from every node, and comparing it with what was acknowledged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import trio

from trioraft.client import EtcdClient, open_etcd
from trioraft.client.etcd import prefix_range

from .cluster import LocalCluster
from .load import Acknowledged
from .source import Source

__all__ = ["Finding", "compare", "verify"]

#: Seconds a restarted node has for catching up.
CATCH_UP = 60.0

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Finding:
    """What one read-back found: acknowledged records that are missing, or have another value."""

    where: str
    found: int
    missing: int
    different: int

    @property
    def lost(self) -> int:
        return self.missing + self.different


async def verify(
    cluster: LocalCluster,
    source: Source,
    acknowledged: Acknowledged,
    report: Callable[[str, int], None],
) -> list[Finding]:
    """Read all records from each node as it is, once it has caught up, and linearizably.

    `report` is told where it reads and how many records it has read there. Raises CatchUpError
    if a node does not catch up in time.
    """
    leader = await cluster.wait_leader()
    await cluster.wait_applied(await cluster.commit_index(leader), timeout=CATCH_UP)
    findings = []
    for node in cluster.nodes.values():
        async with open_etcd(node.address) as client:
            finding = await compare(
                client, source, acknowledged, report, where=f"node {node.id}", serializable=True
            )
            findings.append(finding)
    async with open_etcd(cluster.endpoints) as client:
        finding = await compare(
            client, source, acknowledged, report, where="a linearizable read", serializable=False
        )
        findings.append(finding)
    return findings


async def compare(
    client: EtcdClient,
    source: Source,
    acknowledged: Acknowledged,
    report: Callable[[str, int], None],
    *,
    where: str,
    serializable: bool,
) -> Finding:
    """Read the source's records through `client` and compare them with what was acknowledged."""
    found = different = 0
    start, end = prefix_range(source.prefix)
    pages = client.pages(start, range_end=end, page=_PAGE, serializable=serializable)
    async for page in pages:
        for pair in page:
            number = source.number(pair.key)
            if number in acknowledged:
                found += 1
                different += not acknowledged.matches(number, pair.value)
        report(where, found)
    await trio.lowlevel.checkpoint()
    return Finding(where, found, acknowledged.count - found, different)
