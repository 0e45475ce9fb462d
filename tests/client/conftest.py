"""Fixtures of the client's tests: three nodes that misbehave on request, and a client of them."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest
import trio
from fake_nodes import FAST, Cluster

from trioraft.client import Client, open_client


@pytest.fixture
async def cluster(nursery: trio.Nursery) -> Cluster:
    made = Cluster(nursery)
    await made.start()
    return made


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[Client]:
    async with open_client(cluster.targets, policy=FAST, rng=random.Random(1)) as opened:
        yield opened
