"""Targets and policies over the system's own network."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from echo_pb2 import EchoReply
from echo_service import One
from fleet import ask, asks, refusal

from trioraft.rpc import Channel, DnsResolver, Limits, Resolution, Status, open_channel, serve


def has(host: str) -> bool:
    """Whether this machine can listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as sock:
            sock.bind((host, 0))
    except OSError:
        return False
    return True


@asynccontextmanager
async def serving_at(host: str, **options: Any) -> AsyncIterator[tuple[int, trio.CancelScope]]:
    """A server on a free port of this host, which answers with the host. Its port, and its end."""

    async def answer(stream: Any) -> None:
        await stream.recv_message()
        await stream.send_message(EchoReply(payload=host.encode()))

    async with trio.open_nursery() as nursery:
        [[_, port, *_]] = await nursery.start(
            partial(serve, [One(answer)], host=host, **{"port": 0, **options})
        )
        yield port, nursery.cancel_scope
        nursery.cancel_scope.cancel()


async def connections(channel: Channel, number: int) -> None:
    channel.connect()
    while len(channel.connector._in_use()) < number:
        await trio.sleep(0.01)


@pytest.mark.skipif(not has("127.0.0.2"), reason="127.0.0.2 is not this machine")
async def test_round_robin_over_two_addresses_and_one_that_goes() -> None:
    async with serving_at("127.0.0.1") as (port, _):
        async with serving_at("127.0.0.2", port=port) as (_, second):
            target = f"ipv4:127.0.0.1:{port},127.0.0.2:{port}"
            async with open_channel(target, balancing="round_robin") as channel:
                await connections(channel, 2)
                seen = Counter(await asks(channel, 10))
                assert seen == {"127.0.0.1": 5, "127.0.0.2": 5}
                second.cancel()
                await trio.sleep(0.1)
                assert set(await asks(channel, 10)) == {"127.0.0.1"}


@pytest.mark.skipif(not has("127.0.0.2"), reason="127.0.0.2 is not this machine")
async def test_pick_first_moves_on_when_its_address_goes() -> None:
    async with (
        serving_at("127.0.0.2") as (port, _),
        serving_at("127.0.0.1", port=port) as (_, first),
        open_channel(f"ipv4:127.0.0.1:{port},127.0.0.2:{port}") as channel,
    ):
        assert set(await asks(channel, 3)) == {"127.0.0.1"}
        first.cancel()
        await channel.wait_for_state_change("READY")
        await trio.sleep(0.1)  # by now its listener is closed, too
        assert set(await asks(channel, 3)) == {"127.0.0.2"}


@pytest.mark.skipif(not has("::1"), reason="no IPv6 here")
async def test_ipv6() -> None:
    async with serving_at("::1") as (port, _):
        for target in (f"[::1]:{port}", f"ipv6:[::1]:{port}", f"dns:///[::1]:{port}"):
            async with open_channel(target) as channel:
                assert await ask(channel) == "::1"


@pytest.mark.skipif(not has("::1"), reason="no IPv6 here")
async def test_the_other_family_is_tried_when_one_is_refused() -> None:
    class Both(DnsResolver):
        async def resolve(self) -> Resolution:
            return Resolution(
                [
                    *(await DnsResolver("::1", port).resolve()).addresses,
                    *(await DnsResolver("127.0.0.1", port).resolve()).addresses,
                ]
            )

    async with (
        serving_at("127.0.0.1") as (port, _),
        open_channel("both", resolver=Both("both", port)) as channel,
    ):
        assert await ask(channel) == "127.0.0.1"


async def test_a_backlog_that_is_full_is_joined_by_the_next_address() -> None:
    """Nobody accepts, and the kernel drops what does not fit: Happy Eyeballs over TCP."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        filling = [socket.socket() for _ in range(4)]
        for sock in filling:
            sock.setblocking(False)
            sock.connect_ex(deaf.getsockname())
        async with serving_at("127.0.0.1") as (port, _):
            target = f"ipv4:127.0.0.1:{deaf.getsockname()[1]},127.0.0.1:{port}"
            async with open_channel(target) as channel:
                began = trio.current_time()
                assert await ask(channel) == "127.0.0.1"
                assert trio.current_time() - began >= 0.24
        for sock in filling:
            sock.close()


async def test_localhost_by_name() -> None:
    async with serving_at("127.0.0.1") as (port, _):
        for target in (f"localhost:{port}", f"dns:///localhost:{port}"):
            async with open_channel(target) as channel:
                assert await ask(channel) == "127.0.0.1"


async def test_a_name_that_nobody_knows() -> None:
    async with open_channel("no-such-host.invalid:1") as channel:
        error = await refusal(channel)
        assert error.status is Status.UNAVAILABLE
        assert "cannot resolve" in str(error.message)


async def test_unix_sockets_by_path_and_by_abstract_name(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    abstract = f"\0trioraft-test-{tmp_path.name}-{tmp_path.parent.name}"

    async def answer(stream: Any) -> None:
        await stream.send_message(EchoReply(payload=b"unix"))

    with trio.socket.socket(trio.socket.AF_UNIX) as sock:
        await sock.bind(abstract)
        sock.listen()
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve, [One(answer)], uds=str(path)))
            listener = trio.SocketListener(sock)
            await nursery.start(partial(serve, [One(answer)], listeners=[listener]))
            for target in (f"unix:{path}", f"unix://{path}", f"unix-abstract:{abstract[1:]}"):
                async with open_channel(target) as channel:
                    assert await ask(channel) == "unix"
            nursery.cancel_scope.cancel()


async def test_the_authority_can_be_given() -> None:
    seen: list[str] = []

    async def answer(stream: Any) -> None:
        seen.append(stream.authority)
        await stream.send_message(EchoReply())

    async with trio.open_nursery() as nursery:
        [[_, port]] = await nursery.start(partial(serve, [One(answer)], port=0))
        async with open_channel(f"127.0.0.1:{port}", authority="shop.example") as channel:
            await ask(channel)
        async with open_channel(f"127.0.0.1:{port}") as channel:
            await ask(channel)
        nursery.cancel_scope.cancel()
    assert seen == ["shop.example", f"127.0.0.1:{port}"]


async def test_wait_for_ready_over_a_restart() -> None:
    limits = Limits(reconnect_min=0.02, reconnect_max=0.1)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    answers: list[str] = []

    async def patient(channel: Channel) -> None:
        answers.append(await ask(channel))

    async with (
        open_channel(f"127.0.0.1:{port}", limits=limits, wait_for_ready=True) as channel,
        trio.open_nursery() as nursery,
    ):
        for _ in range(2):
            nursery.start_soon(patient, channel)
            await channel.wait_for_state_change("IDLE")
            while channel.state != "TRANSIENT_FAILURE":
                await channel.wait_for_state_change(channel.state)
            async with serving_at("127.0.0.1", port=port) as (_, scope):
                await channel.wait_for_state_change("TRANSIENT_FAILURE")
                await trio.sleep(0.05)
                scope.cancel()
    assert answers == ["127.0.0.1"] * 2
