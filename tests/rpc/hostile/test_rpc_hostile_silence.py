"""Silence, slowness and crowds: each connection has its time, and there are so many of them."""

from __future__ import annotations

import ssl
from pathlib import Path

import _control
import pytest
import trio
from _attacker import attacking
from _frames import PREFACE, settings
from _silent import client_hello, crowd, dial, drip, hung_up, reset
from echo_grpc import EchoStub
from echo_pb2 import EchoRequest
from echo_service import Echo, serving

from trioraft.rpc import Limits, open_channel

HURRIED = Limits(handshake_timeout=0.3)


async def assert_alive(address: str, **options: ssl.SSLContext) -> None:
    async with open_channel(address, **options) as channel:
        with trio.fail_after(5):
            await EchoStub(channel).Unary(EchoRequest(payload=b"ok"))


@pytest.mark.parametrize("opening", [b"", PREFACE[:9], PREFACE, PREFACE + settings()[:5]], ids=len)
async def test_half_a_greeting_has_its_time(opening: bytes) -> None:
    async with serving([Echo()], limits=HURRIED) as address, await dial(address) as stream:
        await stream.send_all(opening)
        await assert_alive(address)
        with trio.fail_after(3):
            await hung_up(stream)


async def test_a_slow_preface_has_no_more_time_than_a_quick_one() -> None:
    async with serving([Echo()], limits=HURRIED) as address, await dial(address) as stream:
        with trio.fail_after(3):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(drip, stream, PREFACE + settings(), 0.1)
                await hung_up(stream)
                nursery.cancel_scope.cancel()
        await assert_alive(address)


@pytest.mark.parametrize("pause", [0.0, 0.05], ids=["silent after hello", "byte by byte"])
async def test_slow_tls_has_its_time(pause: float, certificate: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=str(certificate))
    options = {"host": "127.0.0.1", "ssl_context": context, "limits": HURRIED}
    async with serving([Echo()], **options) as address, await dial(address) as stream:
        with trio.fail_after(3):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(drip, stream, client_hello(), pause)
                await hung_up(stream)
                nursery.cancel_scope.cancel()
        port = address.rpartition(":")[2]
        await assert_alive(f"localhost:{port}", ssl_context=trusting)


@pytest.mark.parametrize("greets", [False, True], ids=["mute", "greeted"])
async def test_a_crowd_of_idle_connections(greets: bool) -> None:
    async with serving([Echo()]) as address:
        async with crowd(address, 400, greets=greets) as streams:
            await assert_alive(address)
            for stream in streams:
                reset(stream)
        await assert_alive(address)


async def test_connections_beyond_the_limit_are_closed_at_once() -> None:
    async with serving([Echo()], limits=Limits(max_connections=20)) as address:
        async with crowd(address, 20, greets=True), await dial(address) as late:
            with trio.fail_after(2):
                assert await hung_up(late) == b""
        await trio.sleep(0.05)
        await assert_alive(address)


async def test_who_never_reads_is_cut_off() -> None:
    """The kernel gives a peer that takes nothing `silence_timeout`, even one that acknowledges."""
    async with serving([Echo()], limits=Limits(silence_timeout=0.5)) as address:
        async with attacking(address, reads=False) as attacker:
            await _control.slow_read(attacker)
            await assert_alive(address)
            with trio.fail_after(15):
                while True:
                    await trio.sleep(0.1)
                    await attacker.send(_control.PING)  # raises once it is cut off
        assert attacker.closed
