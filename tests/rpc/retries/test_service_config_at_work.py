"""Service configs on channels: who gives them, what they change, what turns them off."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import MemoryNetwork, One, serving

from trioraft.rpc import (
    Address,
    GRPCError,
    Limits,
    Resolution,
    ResolverUpdates,
    Status,
    open_channel,
    serve,
)

HEDGE: dict[str, Any] = {
    "maxAttempts": 3,
    "hedgingDelay": "0.01s",
    "nonFatalStatusCodes": ["UNAVAILABLE"],
}
RETRY: dict[str, Any] = {
    "maxAttempts": 3,
    "initialBackoff": "0.01s",
    "maxBackoff": "0.1s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}


def config(**fields: Any) -> dict[str, Any]:
    return {"methodConfig": [{"name": [{}], **fields}]}


class Counted:
    """A handler that fails, or never answers, and counts."""

    def __init__(self, *, silent: bool = False) -> None:
        self.calls = 0
        self._silent = silent

    async def __call__(self, stream: Any) -> None:
        self.calls += 1
        if self._silent:
            await trio.sleep_forever()
        raise GRPCError(Status.UNAVAILABLE, "always")


async def test_hedges_go_to_different_addresses() -> None:
    """The config also says how calls are balanced."""
    handlers = [Counted(silent=True) for _ in range(3)]
    async with (
        serving([One(handlers[0])]) as one,
        serving([One(handlers[1])]) as two,
        serving([One(handlers[2])]) as three,
    ):
        both = {**config(hedgingPolicy=HEDGE), "loadBalancingConfig": [{"round_robin": {}}]}
        target = f"ipv4:{one},{two},{three}"
        async with open_channel(target, service_config=both) as channel:
            while channel.state != "READY":
                with trio.move_on_after(0.05):
                    await EchoStub(channel).Unary(EchoRequest())
            await trio.sleep(0.2)  # until all three are connected
            for handler in handlers:
                handler.calls = 0
            with trio.move_on_after(0.5):
                await EchoStub(channel).Unary(EchoRequest())
    assert [handler.calls for handler in handlers] == [1, 1, 1]


class Found:
    """A resolver that reports configs as the test goes on."""

    def __init__(self, *configs: dict[str, Any] | None) -> None:
        self._configs = list(configs)
        self.go = trio.Event()

    async def run(self, updates: ResolverUpdates) -> None:
        while self._configs:
            updates.found(Resolution([Address("there")], self._configs.pop(0)))
            await self.go.wait()
            self.go = trio.Event()


async def test_a_resolvers_config_takes_the_defaults_place(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    counted, network = Counted(), MemoryNetwork()
    bad = config(timeout="soon")
    resolver = Found(None, config(retryPolicy=RETRY), bad)

    async def dial(address: Address) -> trio.abc.Stream:
        return await network.dial()

    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, [One(counted)], listeners=[network]))
        async with open_channel(
            "x", resolver=resolver, dial_address=dial, service_config=config(timeout="9s")
        ) as channel:

            async def attempts() -> int:
                before = counted.calls
                with pytest.raises(GRPCError, match="always"):
                    await EchoStub(channel).Unary(EchoRequest())
                return counted.calls - before

            assert await attempts() == 1
            assert channel.plans is not None
            assert channel.plans.of("/a/b").timeout == 9
            for _ in range(2):  # the last one is refused: what was, stays
                resolver.go.set()
                await trio.testing.wait_all_tasks_blocked()
                assert await attempts() == 3
                assert channel.plans.of("/a/b").timeout is None
            assert "service config refused" in caplog.text
            plans = channel.plans
            channel.configure(config(retryPolicy=RETRY))
            assert channel.plans is plans  # nothing new
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("policy", [{"retryPolicy": RETRY}, {"hedgingPolicy": HEDGE}])
async def test_policies_can_be_turned_off(policy: dict[str, Any]) -> None:
    counted = Counted()
    options = {"service_config": config(**policy), "retries": False}
    async with serving([One(counted)]) as address, open_channel(address, **options) as channel:
        with pytest.raises(GRPCError, match="always"):
            await EchoStub(channel).Unary(EchoRequest())
    assert counted.calls == 1


async def test_wait_for_ready_by_config(autojump_clock: trio.testing.MockClock) -> None:
    """With a policy and without: no attempt is spent on a server that is not there yet."""
    network, up = MemoryNetwork(), False
    counted = 0

    async def handler(stream: Any) -> None:
        nonlocal counted
        counted += 1
        await stream.recv_message()
        await stream.send_message(EchoReply())

    async def dial() -> trio.abc.Stream:
        if not up:
            raise OSError("not yet")
        return await network.dial()

    limits = Limits(reconnect_min=1, reconnect_max=1)
    for policy in ({}, {"retryPolicy": RETRY}, {"hedgingPolicy": HEDGE}):
        up = False
        async with trio.open_nursery() as nursery:
            network = MemoryNetwork()
            await nursery.start(partial(serve, [One(handler)], listeners=[network]))
            ready = config(waitForReady=True, timeout="60s", **policy)
            async with open_channel("x", dial=dial, limits=limits, service_config=ready) as channel:
                began = trio.current_time()
                with trio.move_on_after(10):
                    await EchoStub(channel).Unary(EchoRequest())
                assert trio.current_time() - began == pytest.approx(10)
                up = True
                await EchoStub(channel).Unary(EchoRequest())
            nursery.cancel_scope.cancel()
    assert counted >= 3


def test_limits_of_what_is_kept() -> None:
    for name in ("max_replay", "max_replay_channel"):
        with pytest.raises(ValueError, match=name):
            Limits(**{name: -1})
        Limits(**{name: 0})
