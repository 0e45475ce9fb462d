"""How much a server takes: handlers in all, connections from one address."""

from __future__ import annotations

import random
from typing import Any

import pytest
import trio
import trio.testing
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import Echo, One, serving

from trioraft.rpc import GRPCError, Limits, Status, open_channel, open_server
from trioraft.rpc.server.budget import MANY, PORTION, Budget
from trioraft.rpc.testing import MemoryListener


class Spender:
    def __init__(self) -> None:
        self.allowance = self.running = 0


def test_a_budget_is_never_exceeded_and_used_to_the_last() -> None:
    async def main() -> None:
        rng = random.Random(3)
        spenders = [Spender() for _ in range(10)]
        total = 3 * PORTION
        budget = Budget(total, spenders)
        refused = 0
        for _ in range(5000):
            spender = rng.choice(spenders)
            running = sum(one.running for one in spenders)
            if spender.running and rng.random() < 0.45:
                spender.running -= 1
            elif spender.running < spender.allowance or budget.ask(spender):
                spender.running += 1
            else:
                refused += 1
                assert running == total
            assert sum(one.running for one in spenders) <= total
            assert sum(one.allowance for one in spenders) <= total
        assert refused

    trio.run(main)


async def test_what_others_do_not_use_is_collected(autojump_clock: object) -> None:
    spenders = [Spender() for _ in range(MANY + 1)]
    budget = Budget(PORTION, spenders)
    busy, idle, *_ = spenders
    assert budget.ask(idle)
    assert budget.ask(busy)  # the idle one has given everything back
    assert (busy.allowance, idle.allowance) == (PORTION, 0)
    busy.running = PORTION
    assert not budget.ask(idle)
    busy.running = 0
    assert not budget.ask(idle)  # looked for a moment ago
    await trio.sleep(0.1)
    assert budget.ask(idle)
    budget.give_back(idle)
    assert budget.ask(busy)


async def test_one_handler_too_many(autojump_clock: object) -> None:
    listener, gate = MemoryListener(), trio.Event()

    async def wait(stream: Any) -> None:
        request = await stream.recv_message()
        await gate.wait()
        await stream.send_message(EchoReply(payload=request.payload))

    answers: list[bytes] = []

    async def ask(channel: Any) -> None:
        answers.append((await EchoStub(channel).Unary(EchoRequest(payload=b"x"))).payload)

    async with (
        open_server([One(wait)], listeners=[listener], limits=Limits(max_handlers=40)),
        open_channel("one", dial=listener.dial) as one,
        open_channel("two", dial=listener.dial) as two,
    ):
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(ask, one)
                nursery.start_soon(ask, two)
            await trio.testing.wait_all_tasks_blocked()
            for channel in (one, two):
                await trio.sleep(1)
                with pytest.raises(GRPCError, match="runs 40 handlers already") as caught:
                    await ask(channel)
                assert caught.value.status is Status.RESOURCE_EXHAUSTED
            gate.set()
        assert len(answers) == 40
        await trio.sleep(1)
        await ask(one)


async def test_handlers_of_lost_connections_are_given_back(autojump_clock: object) -> None:
    listener, begun = MemoryListener(), 0

    async def wait(stream: Any) -> None:
        nonlocal begun
        begun += 1
        await trio.sleep_forever()

    limits = Limits(max_handlers=2)
    async with open_server([One(wait)], listeners=[listener], limits=limits) as server:
        for _ in range(5):
            async with (
                open_channel("any", dial=listener.dial) as channel,
                trio.open_nursery() as nursery,
            ):
                for _ in range(2):
                    nursery.start_soon(EchoStub(channel).Unary, EchoRequest())
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            await trio.sleep(2)
        assert begun == 10
        assert server._shared.budget._free == 2


async def test_connections_from_one_address(caplog: pytest.LogCaptureFixture) -> None:
    limits = Limits(max_connections_per_peer=2)
    async with serving([Echo()], limits=limits) as address:
        host, _, port = address.partition(":")
        first, second, third = [await trio.open_tcp_stream(host, int(port)) for _ in range(3)]
        with trio.fail_after(5):
            assert await third.receive_some() == b""
        assert caplog.text.count("refusing connections: 127.0.0.1 has 2 open") == 1
        other = trio.socket.socket()
        await other.bind(("127.0.0.2", 0))
        await other.connect((host, int(port)))
        async with open_channel(address, dial=_dialled(trio.SocketStream(other))) as channel:
            reply = await EchoStub(channel).Unary(EchoRequest(payload=b"x"), timeout=5)
            assert reply.payload == b"x"
        await first.aclose()
        await trio.testing.wait_all_tasks_blocked(0.02)
        async with open_channel(address) as channel:
            reply = await EchoStub(channel).Unary(EchoRequest(payload=b"x"), timeout=5)
            assert reply.payload == b"x"
        await second.aclose()
        await third.aclose()


def _dialled(stream: trio.abc.Stream) -> Any:
    async def dial() -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return stream

    return dial


@pytest.mark.parametrize("field", ["max_handlers", "max_connections_per_peer"])
def test_bounds_that_make_no_sense(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        Limits(**{field: 0})
