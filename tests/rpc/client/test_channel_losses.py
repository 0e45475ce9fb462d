"""Connections that are lost under a channel, and the end of its block: what becomes of calls."""

from __future__ import annotations

import socket
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from channel_kit import failure, free_port
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import Echo, MemoryNetwork, One, chat, in_memory, serving

from trioraft.rpc import GRPCError, Limits, Status, open_channel, serve


async def test_a_lost_connection_fails_its_calls_and_the_next_call_reconnects() -> None:
    async def handler(stream: Any) -> None:
        await trio.sleep_forever()

    async with in_memory([chat(handler), One(Echo().Unary)]) as (channel, network):
        stub = EchoStub(channel)
        errors: list[Status] = []

        async def hang() -> None:
            with pytest.raises(GRPCError) as caught:
                async with stub.Chat.open() as stream:
                    await stream.send_request()
                    await stream.recv_message()
            errors.append(caught.value.status)

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(hang)
            await trio.testing.wait_all_tasks_blocked()
            await network.server_ends[0].aclose()
        assert errors == [Status.UNAVAILABLE] * 5
        await stub.Unary(EchoRequest())
        assert len(network.client_ends) == 2


async def test_replies_that_arrived_before_the_loss_can_be_read() -> None:
    async def handler(stream: Any) -> None:
        for index in range(3):
            await stream.send_message(EchoReply(index=index))
        await trio.sleep_forever()

    async with in_memory([chat(handler)]) as (channel, network):
        with pytest.raises(GRPCError) as caught:
            async with EchoStub(channel).Chat.open() as stream:
                await stream.send_request()
                await trio.testing.wait_all_tasks_blocked()
                await network.server_ends[0].aclose()
                await trio.testing.wait_all_tasks_blocked()
                for index in range(3):
                    assert (await stream.recv_message()).index == index
                await stream.recv_message()
        assert caught.value.status is Status.UNAVAILABLE


async def test_goaway_lets_calls_end_and_moves_new_ones() -> None:
    gate = trio.Event()

    async def handler(stream: Any) -> None:
        await gate.wait()
        await stream.send_message(EchoReply(index=1))

    async with in_memory([chat(handler), One(Echo().Unary)]) as (channel, network):
        stub = EchoStub(channel)
        async with stub.Chat.open() as stream:
            await stream.send_request()
            await trio.testing.wait_all_tasks_blocked()
            first = channel.connector.current
            # A polite server: GOAWAY that keeps what has begun (RFC 9113 §6.8).
            goaway = bytes.fromhex("000008 07 00 00000000 00000001 00000000")
            await network.server_ends[0].send_all(goaway)
            await trio.testing.wait_all_tasks_blocked()
            await stub.Unary(EchoRequest())
            assert channel.connector.current is not first
            assert len(network.client_ends) == 2
            gate.set()
            assert (await stream.recv_message()).index == 1
            await stream.end()


async def test_a_stopping_server_says_goodbye() -> None:
    network = MemoryNetwork()
    async with open_channel("memory", dial=network.dial) as channel:
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve, [Echo()], listeners=[network]))
            await EchoStub(channel).Unary(EchoRequest())
            nursery.cancel_scope.cancel()
        farewell = network.server_ends[0].sends[-1]
        assert farewell[3] == 7  # a GOAWAY frame


async def test_a_restarted_server_is_found_again() -> None:
    port = free_port()
    address = f"127.0.0.1:{port}"
    async with open_channel(address, limits=Limits(reconnect_min=0.01)) as channel:
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                await nursery.start(partial(serve, [Echo()], port=port))
                await channel.wait_for_state_change("TRANSIENT_FAILURE")
                await EchoStub(channel).Unary(EchoRequest())
                nursery.cancel_scope.cancel()
            assert (await failure(channel)).status is Status.UNAVAILABLE


async def test_a_vanished_peer_is_noticed() -> None:
    """Both ends ask the kernel to give up on data that nobody acknowledges."""
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is None:
        pytest.skip("this system cannot bound the silence of a TCP peer")
    seen: list[int] = []

    async def handler(stream: Any) -> None:
        transport = stream.peer._stream
        seen.append(transport.getsockopt(socket.IPPROTO_TCP, option))
        await stream.send_message(EchoReply())

    limits = Limits(silence_timeout=3.5)
    async with serving([One(handler)], limits=limits) as address, open_channel(address) as channel:
        await EchoStub(channel).Unary(EchoRequest())
        transport = channel.connector.current._stream
        seen.append(transport.getsockopt(socket.IPPROTO_TCP, option))
    assert seen == [3500, 10_000]


# ---- the block -----------------------------------------------------------------------------------


async def test_the_blocks_exceptions_come_out_as_they_are() -> None:
    async with serving([Echo()]) as address:
        with pytest.raises(KeyError, match="mine"):
            async with open_channel(address) as channel:
                await EchoStub(channel).Unary(EchoRequest())
                raise KeyError("mine")


async def test_a_cancelled_block_ends_as_cancelled() -> None:
    async with serving([Echo()]) as address:
        with trio.move_on_after(0.05) as scope:
            async with open_channel(address) as channel:
                await EchoStub(channel).Unary(EchoRequest())
                await trio.sleep_forever()
        assert scope.cancelled_caught


async def test_leaving_the_block_ends_calls_of_other_tasks() -> None:
    async def handler(stream: Any) -> None:
        await trio.sleep_forever()

    errors: list[GRPCError] = []

    async def call(channel: Any) -> None:
        errors.append(await failure(channel))

    async with serving([One(handler)]) as address, trio.open_nursery() as nursery:
        async with open_channel(address) as channel:
            nursery.start_soon(call, channel)
            await trio.sleep(0.05)
    assert [error.status for error in errors] == [Status.UNAVAILABLE]


async def test_a_channel_is_used_inside_its_block() -> None:
    channel = open_channel("127.0.0.1:1")
    with pytest.raises(RuntimeError, match="inside"):
        await EchoStub(channel).Unary(EchoRequest())
    async with channel:
        pass
    with pytest.raises(RuntimeError, match="already"):
        async with channel:
            pass


def test_an_option_that_there_is_not_is_an_error() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'limit'"):
        open_channel("127.0.0.1:1", limit=Limits())  # type: ignore[call-arg]
