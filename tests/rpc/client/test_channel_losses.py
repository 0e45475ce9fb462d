"""Channels: connecting, losing, reconnecting; the ways to a server and the ends of one."""

from __future__ import annotations

import itertools
import random
import socket
import ssl
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import Echo, MemoryNetwork, One, chat, in_memory, serving

from trioraft.rpc import GRPCError, Limits, Status, open_channel, serve


async def failure(channel: Any) -> GRPCError:
    with pytest.raises(GRPCError) as caught:
        await EchoStub(channel).Unary(EchoRequest())
    return caught.value


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


# ---- losing and finding a connection -------------------------------------------------------------


async def test_nothing_is_dialled_before_the_first_call() -> None:
    async with open_channel("127.0.0.1:1"):
        await trio.sleep(0.01)


async def test_no_server_is_unavailable_and_says_why() -> None:
    async with open_channel(f"127.0.0.1:{free_port()}") as channel:
        error = await failure(channel)
        assert error.status is Status.UNAVAILABLE
        assert "127.0.0.1" in str(error.message)


async def test_concurrent_first_calls_share_one_attempt() -> None:
    async with in_memory([Echo()]) as (channel, network), trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(EchoStub(channel).Unary, EchoRequest())
    assert len(network.client_ends) == 1


async def test_cancelling_the_first_caller_leaves_the_attempt_to_the_others() -> None:
    gate = trio.Event()
    network = MemoryNetwork()

    async def slow_dial() -> trio.abc.Stream:
        await gate.wait()
        return await network.dial()

    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, [Echo()], listeners=[network]))
        async with open_channel("slow", dial=slow_dial) as channel:
            stub = EchoStub(channel)
            with trio.move_on_after(0.01):
                await stub.Unary(EchoRequest())
            async with trio.open_nursery() as callers:
                callers.start_soon(stub.Unary, EchoRequest())
                await trio.testing.wait_all_tasks_blocked()
                gate.set()
        assert len(network.client_ends) == 1
        nursery.cancel_scope.cancel()


async def test_backoff_grows_with_jitter_and_fails_fast(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dials: list[float] = []

    async def dial() -> trio.abc.Stream:
        dials.append(trio.current_time())
        raise OSError("no route")

    limits = Limits(reconnect_min=1.0, reconnect_max=8.0)
    async with open_channel("far", dial=dial, limits=limits, rng=random.Random(1)) as channel:
        while trio.current_time() < 60:
            error = await failure(channel)
            assert error.status is Status.UNAVAILABLE
            assert "no route" in str(error.message)
            await trio.sleep(0.05)
    gaps = [later - earlier for earlier, later in itertools.pairwise(dials)]
    for number, gap in enumerate(gaps):
        pause = min(8.0, 1.6**number)
        assert 0.8 * pause <= gap <= 1.2 * pause + 0.06
    assert len(set(gaps[5:])) > 1


async def test_the_same_seed_gives_the_same_attempts(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def attempts() -> list[float]:
        start = trio.current_time()
        dials: list[float] = []

        async def dial() -> trio.abc.Stream:
            dials.append(round(trio.current_time() - start, 6))
            raise OSError("no")

        async with open_channel("x", dial=dial, rng=random.Random(7)) as channel:
            while trio.current_time() < start + 10:
                await failure(channel)
                await trio.sleep(0.01)
        return dials

    assert await attempts() == await attempts()


async def test_a_failing_dial_of_any_kind_is_unavailable() -> None:
    async def dial() -> trio.abc.Stream:
        raise KeyError("the application's own mistake")

    async with open_channel("x", dial=dial) as channel:
        error = await failure(channel)
        assert error.status is Status.UNAVAILABLE
        assert "mistake" in str(error.message)


async def test_a_server_that_never_answers_is_given_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def dial() -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        kept.append(theirs)
        return ours

    kept: list[trio.abc.Stream] = []
    async with open_channel("mute", dial=dial, limits=Limits(connect_timeout=3)) as channel:
        error = await failure(channel)
        assert error.status is Status.UNAVAILABLE
        assert trio.current_time() == pytest.approx(3)


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


async def test_a_server_that_turns_everybody_away_is_not_stormed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It greets and says GOAWAY in one breath: the pauses grow as if it were not there."""
    greeting = bytes.fromhex("000000040000000000 00000807000000000000000000 00000000")
    kept: list[trio.abc.Stream] = []

    async def dial() -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        kept.append(theirs)
        await theirs.send_all(greeting)
        await theirs.send_eof()
        return ours

    async with open_channel("rude", dial=dial, limits=Limits(reconnect_min=1)) as channel:
        while trio.current_time() < 30:
            assert (await failure(channel)).status is Status.UNAVAILABLE
            await trio.sleep(0.1)
    assert len(kept) <= 12


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


# ---- ways to a server ----------------------------------------------------------------------------


async def test_unix_sockets(tmp_path: Path, nursery: trio.Nursery) -> None:
    path = str(tmp_path / "echo.sock")
    seen: list[Any] = []

    async def handler(stream: Any) -> None:
        seen.append(stream.peer.addr())
        await stream.send_message(EchoReply())

    for _ in range(2):  # the second finds a stale file, as after a crash
        scope = trio.CancelScope()

        async def run(
            task_status: trio.TaskStatus[list[Any]], scope: trio.CancelScope = scope
        ) -> None:
            with scope:
                await serve([One(handler)], uds=path, task_status=task_status)

        assert await nursery.start(run) == [path]
        for target in (f"unix:{path}", f"unix://{path}"):
            async with open_channel(target) as channel:
                await EchoStub(channel).Unary(EchoRequest())
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert not await trio.Path(path).exists()
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(path)
    assert seen == [""] * 4


async def test_a_unix_socket_in_use_is_refused(tmp_path: Path, nursery: trio.Nursery) -> None:
    path = str(tmp_path / "echo.sock")
    await nursery.start(partial(serve, [Echo()], uds=path))
    with pytest.raises(OSError, match="cannot listen on unix:"):
        await serve([Echo()], uds=path)
    async with open_channel(f"unix:{path}") as channel:
        await EchoStub(channel).Unary(EchoRequest())
    nursery.cancel_scope.cancel()


async def test_a_port_in_use_is_named() -> None:
    async with serving([Echo()]) as address:
        with pytest.raises(OSError, match=f"cannot listen on {address}"):
            await serve([Echo()], port=int(address.split(":")[1]))


async def test_tcp_and_unix_at_once(tmp_path: Path, nursery: trio.Nursery) -> None:
    path = str(tmp_path / "echo.sock")
    tcp, unix = await nursery.start(partial(serve, [Echo()], port=0, uds=path))
    assert unix == path
    for target in (f"ipv4:127.0.0.1:{tcp[1]}", f"dns:///localhost:{tcp[1]}", f"unix:{path}"):
        async with open_channel(target) as channel:
            await EchoStub(channel).Unary(EchoRequest())
    nursery.cancel_scope.cancel()


async def test_two_services_with_one_path_are_refused() -> None:
    with pytest.raises(ValueError, match="two services"):
        await serve([Echo(), Echo()], port=0)


async def test_tls(certificate: Path) -> None:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate)
    client = ssl.create_default_context(cafile=str(certificate))
    payload = bytes(1_000_000)
    async with serving([Echo()], ssl_context=server) as address:
        async with open_channel(address, ssl_context=client) as channel:
            reply = await EchoStub(channel).Unary(EchoRequest(payload=payload))
            assert reply.payload == payload
            replies = await EchoStub(channel).Expand(EchoRequest(count=100))
            assert len(replies) == 100
        async with open_channel(address, ssl_context=ssl.create_default_context()) as channel:
            error = await failure(channel)
            assert error.status is Status.UNAVAILABLE
            assert "certificate" in str(error.message)
        async with open_channel(address) as channel:  # no TLS where TLS is expected
            assert (await failure(channel)).status is Status.UNAVAILABLE
        async with open_channel(address, ssl_context=client) as channel:
            await EchoStub(channel).Unary(EchoRequest())


async def test_tls_without_http2_is_refused(certificate: Path, nursery: trio.Nursery) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    async def handle(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            await stream.do_handshake()
            await stream.receive_some(1)
        except trio.BrokenResourceError:
            await trio.aclose_forcefully(stream)

    listeners = await nursery.start(
        partial(trio.serve_ssl_over_tcp, handle, 0, context, host="127.0.0.1")
    )
    port = listeners[0].transport_listener.socket.getsockname()[1]
    client = ssl.create_default_context(cafile=str(certificate))
    async with open_channel(f"127.0.0.1:{port}", ssl_context=client) as channel:
        assert "ALPN" in str((await failure(channel)).message)
    nursery.cancel_scope.cancel()


def test_an_option_that_there_is_not_is_an_error() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'limit'"):
        open_channel("127.0.0.1:1", limit=Limits())  # type: ignore[call-arg]
