"""Fixtures of the interop tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import trio
from _cluster import LocalCluster

StartCluster = Callable[..., Awaitable[LocalCluster]]


@pytest.fixture
async def start_cluster(
    tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[StartCluster]:
    """Starts clusters of real processes (arguments as of `LocalCluster`); ends them afterwards."""
    started: list[LocalCluster] = []

    async def start(**options: object) -> LocalCluster:
        cluster = LocalCluster(tmp_path / f"cluster{len(started)}", **options)  # type: ignore[arg-type]
        started.append(cluster)
        await cluster.start()
        await cluster.wait_leader()
        return cluster

    yield start
    with trio.CancelScope(shield=True):
        for cluster in started:
            await cluster.aclose()
            for node_id in cluster.nodes:
                # Shown by pytest if the test fails.
                print(f"--- {node_id} of {cluster.root.name}\n{cluster.log_tail(node_id, 40)}")
