"""Clusters of real `trioraft node` processes for the interop tests.

In an async test::

    async def test_something(start_cluster):
        cluster = await start_cluster()                 # three nodes, a leader elected
        cluster.endpoints                               # "127.0.0.1:p1,127.0.0.1:p2,..."
        leader = await cluster.wait_leader()            # "n1"
        await cluster.kill(leader)                      # SIGKILL
        await cluster.wait_leader(other_than=leader)
        await cluster.start(leader)                     # again, on the same data

The processes end with the test. See `trioraft.cli.demo.cluster` for everything it can do.
"""

from trioraft.cli.demo.cluster import LocalCluster, open_cluster
from trioraft.cli.demo.processes import NodeStartError

__all__ = ["LocalCluster", "NodeStartError", "open_cluster"]
