"""The world that channelz is asked about."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import trio

sys.path.insert(0, str(Path(__file__).parent.parent / "client"))  # for `fleet`

from channelz_world import Various, World, asking
from echo_grpc import EchoStub
from echo_service import MemoryNetwork

from trioraft.rpc import Service, open_channel, serve
from trioraft.rpc.services import Registry


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A server and a channel to it, both in the register."""
    registry, network = Registry(), MemoryNetwork()
    async with trio.open_nursery() as nursery:
        services: list[Service] = [Various()]
        await nursery.start(partial(serve, services, listeners=[network], registry=registry))
        async with (
            asking(registry) as world,
            open_channel("there", dial=network.dial, registry=registry) as channel,
        ):
            world.echo = EchoStub(channel)
            yield world
        assert registry.channels == registry.subchannels == {}
        nursery.cancel_scope.cancel()
    assert registry.servers == registry.sockets == {}
