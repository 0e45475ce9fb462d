"""Calls of all kinds, retried and hedged, while streams are few and connections break at random.

Whatever happens to a call, it gets replies of one attempt only, in order, and it leaves nothing.
"""

from __future__ import annotations

import logging
import random
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from echo_service import MemoryNetwork

from trioraft.rpc import (
    Address,
    Cardinality,
    Channel,
    ConnectionLifetime,
    Encoded,
    GRPCError,
    Handler,
    Limits,
    Resolution,
    ResolverUpdates,
    Status,
    open_channel,
    serve,
)
from trioraft.testing.scheduler import SeededRun, run_seeded

KINDS = list(Cardinality)
ENDS = {Status.OK, Status.UNAVAILABLE, Status.DEADLINE_EXCEEDED, Status.CANCELLED}
CALLS = 60


class Service:
    """Answers each request with `REQUEST|0`, `REQUEST|1`, ...; is slow, and fails now and then."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def __mapping__(self) -> dict[str, Handler]:
        return {
            f"/s.S/{kind.name}": Handler(partial(self._answer, kind), kind, Encoded, Encoded)
            for kind in KINDS
        }

    async def _answer(self, kind: Cardinality, stream: Any) -> None:
        await trio.sleep(self._rng.choice([0, 0, 1, 1, 2, 3]))
        if self._rng.random() < 0.15:
            raise GRPCError(Status.UNAVAILABLE)
        request = b""
        async for request in stream:
            if kind.server_streaming:
                await self._expand(stream, request)
            if not kind.client_streaming:
                break
        if not kind.server_streaming:
            await stream.send_message(Encoded(request + b"|0"))

    async def _expand(self, stream: Any, request: bytes) -> None:
        for index in range(self._rng.randrange(1, 4)):
            await stream.send_message(Encoded(b"%b|%d" % (request, index)))
            await trio.sleep(self._rng.choice([0, 0, 0, 1]))
        if self._rng.random() < 0.1:
            raise GRPCError(Status.UNAVAILABLE)


class Chaos:
    """One channel, some servers, and many calls, as a seed has it."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.networks = {name: MemoryNetwork() for name in "abc"[: self.rng.randrange(1, 4)]}
        self.answered = 0

    async def live(self, _: SeededRun) -> None:
        async with trio.open_nursery() as nursery:
            for network in self.networks.values():
                limits = Limits(max_concurrent_streams=self.rng.choice([1, 2, 3, 10]))
                lifetime = ConnectionLifetime(max_age=self.rng.choice([3, 7, 1e9]))
                start = partial(serve, listeners=[network], limits=limits, lifetime=lifetime)
                await nursery.start(start, [Service(self.rng)])
            with trio.fail_after(10_000):
                await self._use()
            nursery.cancel_scope.cancel()

    async def _use(self) -> None:
        limits = Limits(
            reconnect_min=1,
            reconnect_max=1,
            max_connections_per_address=self.rng.choice([1, 1, 2]),
            idle_timeout=self.rng.choice([2, 1800]),
        )
        opened = open_channel(
            "chaos",
            resolver=self,
            dial_address=lambda address: self.networks[address.host].dial(),
            balancing=self.rng.choice(["pick_first", "round_robin"]),
            limits=limits,
            rng=self.rng,
            service_config=self._policy(),
        )
        async with opened as channel:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._break_connections)
                async with trio.open_nursery() as calls:
                    for number in range(CALLS):
                        calls.start_soon(self._call, channel, number)
                        await trio.sleep(self.rng.choice([0, 0, 0, 0.5, 1]))
                nursery.cancel_scope.cancel()
            await trio.sleep(10)
            assert not any(connection.calls for connection in channel.connector._shared.live)
            assert channel.plans is not None
            assert channel.plans.account.used == 0
        assert self.answered

    def _policy(self) -> dict[str, Any]:
        retry = {
            "maxAttempts": 4,
            "initialBackoff": "0.5s",
            "maxBackoff": "1s",
            "backoffMultiplier": 1,
            "retryableStatusCodes": ["UNAVAILABLE"],
        }
        hedging = {
            "maxAttempts": self.rng.randrange(2, 6),
            "hedgingDelay": self.rng.choice(["0s", "1s", "2s"]),
            "nonFatalStatusCodes": ["UNAVAILABLE"],
        }
        policies = [{}, {"retryPolicy": retry}, {"hedgingPolicy": hedging}]
        config: dict[str, Any] = {"methodConfig": [{"name": [{}], **self.rng.choice(policies)}]}
        if self.rng.random() < 0.3:
            config["retryThrottling"] = {"maxTokens": 20, "tokenRatio": 0.5}
        return config

    # ---- what goes on ------------------------------------------------------------------------

    async def run(self, updates: ResolverUpdates) -> None:
        """The channel's resolver: all addresses, then some of them, or none."""
        some = list(self.networks)
        while True:
            updates.found(Resolution([Address(name, 1) for name in some]))
            await trio.sleep(self.rng.choice([1, 5]))
            some = [name for name in self.networks if self.rng.random() < 0.8]

    async def _break_connections(self) -> None:
        while True:
            await trio.sleep(self.rng.choice([1, 2, 4, 8]))
            ends = self.rng.choice(list(self.networks.values())).server_ends
            if ends:
                await trio.aclose_forcefully(self.rng.choice(ends[-3:]))

    async def _call(self, channel: Channel, number: int) -> None:
        kind = self.rng.choice(KINDS)
        replies: list[bytes] = []
        status = Status.CANCELLED
        with trio.move_on_after(self.rng.choice([1, 2, 3, 50])):
            try:
                await self._converse(channel, kind, b"%d" % number, replies)
                status = Status.OK
            except GRPCError as error:
                status = error.status
        assert status in ENDS
        assert replies == sorted(set(replies))
        assert all(reply.startswith(b"%d/" % number) for reply in replies)
        assert len(replies) <= (9 if kind.server_streaming else 1)
        if status is Status.OK:
            assert replies
            self.answered += 1

    async def _converse(
        self, channel: Channel, kind: Cardinality, name: bytes, replies: list[bytes]
    ) -> None:
        stream = channel.request(
            f"/s.S/{kind.name}",
            kind,
            Encoded,
            Encoded,
            timeout=self.rng.choice([None, 2, 4, 30]),
            wait_for_ready=self.rng.random() < 0.8,
        )
        count = self.rng.randrange(1, 4) if kind.client_streaming else 1
        async with stream:
            for index in range(count):
                await stream.send_message(Encoded(b"%b/%d" % (name, index)), end=index == count - 1)
                await trio.sleep(self.rng.choice([0, 0, 1]))
            async for reply in stream:
                replies.append(reply)  # noqa: PERF401 (what came before a failure counts, too)


@pytest.mark.parametrize("seed", range(16))
def test_replies_are_of_one_attempt(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    run_seeded(Chaos(seed).live, seed)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
