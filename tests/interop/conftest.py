"""Fixtures of the interop tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import trio
from _cluster import LocalCluster
from _grpc.certificates import Certificates, make_certificates
from _grpc.go_peers import NoPeer, build

REQUIRED = os.environ.get("TRIORAFT_REQUIRE_PEERS") == "1"

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


@pytest.fixture(scope="session")
def go_programs(pytestconfig: pytest.Config) -> Path:
    """grpc-go's binaries; skips where they cannot be built, unless peers are required."""
    assert pytestconfig.cache is not None
    try:
        return build(pytestconfig.cache.mkdir("interop"))
    except NoPeer as problem:
        if REQUIRED:
            raise
        pytest.skip(str(problem))


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    if shutil.which("openssl") is None and not REQUIRED:
        pytest.skip("no openssl program to make certificates with")
    return make_certificates(tmp_path_factory.mktemp("certificates"))
