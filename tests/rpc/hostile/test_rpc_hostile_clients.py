"""Every attack on a server ends as stated, and another client does not even notice."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import _bodies
import _control
import _fields
import _streams
import pytest
import trio
from _attack import Attack
from _attacker import attacking
from echo_grpc import EchoStub
from echo_pb2 import EchoRequest
from echo_service import Echo, serving

from trioraft.rpc import Limits, open_channel

ATTACKS = [
    *_streams.ATTACKS,
    *_control.ATTACKS,
    *_fields.ATTACKS,
    *_bodies.ATTACKS,
]

#: No call of the innocent takes longer, in seconds, with attacker, victim and client in one
#: process on a busy machine; bench/hostile.py measures what it is between processes.
PATIENCE = 3.0


@asynccontextmanager
async def innocent(address: str) -> AsyncIterator[list[float]]:
    """A client that calls all the time; gives how long each call took."""
    times: list[float] = []

    async def call() -> None:
        async with open_channel(address) as channel:
            stub = EchoStub(channel)
            while True:
                start = trio.current_time()
                await stub.Unary(EchoRequest(payload=b"innocent"))
                times.append(trio.current_time() - start)
                await trio.sleep(0.002)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        yield times
        before = len(times)
        with trio.fail_after(PATIENCE):
            while len(times) <= before:
                await trio.sleep(0.002)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
async def test_attack(attack: Attack, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    limits = Limits(max_buffered=16 * 2**20, reset_burst=1000, reset_rate=100)
    async with serving([Echo()], limits=limits) as address, innocent(address) as times:
        with trio.fail_after(30):
            async with attacking(address, reads=attack.reads) as attacker:
                attacker.scale = 0.1
                await attack.run(attacker)
                if attack.reads:
                    await attacker.settle()
                    await attacker.until(attack.outcome, 2.0)
    assert re.fullmatch(attack.outcome, attacker.outcome()), attacker.outcome()
    assert max(times) < PATIENCE
