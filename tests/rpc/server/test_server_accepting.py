"""Accepting goes on whatever the system is short of."""

from __future__ import annotations

import errno
import logging
import os
import resource
from typing import Any

import pytest
import trio
import trio.testing
from echo_grpc import EchoStub
from echo_pb2 import EchoRequest
from echo_service import Echo, serving

from trioraft.rpc import open_channel
from trioraft.rpc.server.listening.accepting import accept_connections


class Short(trio.abc.Listener[trio.abc.Stream]):
    """Raises `failures` in turn, then gives one stream, then waits."""

    def __init__(self, failures: list[OSError]) -> None:
        self.failures = failures
        self.times: list[float] = []
        self.closed = False
        self.given = False

    async def accept(self) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        self.times.append(trio.current_time())
        if self.failures:
            raise self.failures.pop(0)
        if self.given:
            await trio.sleep_forever()
        self.given = True
        return trio.testing.memory_stream_pair()[0]

    async def aclose(self) -> None:
        self.closed = True


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.EPERM])
async def test_it_waits_longer_each_time_and_says_so_once(
    number: int, autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    listener = Short([OSError(number, os.strerror(number)) for _ in range(12)])
    arrived: list[Any] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept_connections, listener, "here", arrived.append)
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert len(arrived) == 1
    assert listener.closed
    pauses = [b - a for a, b in zip(listener.times, listener.times[1:], strict=False)]
    assert pauses[:3] == pytest.approx([0.005, 0.01, 0.02])
    assert max(pauses) == pytest.approx(1.0)
    lines = [record.message for record in caplog.records if record.levelno >= logging.ERROR]
    assert lines == [
        f"here: cannot accept connections for now: [Errno {number}] {os.strerror(number)}"
    ]


async def test_a_listener_that_somebody_closes_is_an_error(autojump_clock: object) -> None:
    class Closed(Short):
        async def accept(self) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            raise trio.ClosedResourceError

    with pytest.raises(trio.ClosedResourceError):
        await accept_connections(Closed([]), "here", lambda stream: None)


async def test_without_file_descriptors_those_who_are_served_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The real thing: this process has no descriptor left, and then has some again."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with serving([Echo()]) as address, open_channel(address) as channel:
        echo = EchoStub(channel)
        await echo.Unary(EchoRequest(payload=b"before"))
        late = trio.socket.socket()
        host, _, port = address.partition(":")
        highest = os.dup(0)
        os.close(highest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest, hard))
        try:
            await late.connect((host, int(port)))  # the kernel has it; the server cannot take it
            await trio.sleep(0.05)
            reply = await echo.Unary(EchoRequest(payload=b"meanwhile"), timeout=5)
            assert reply.payload == b"meanwhile"
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        with trio.fail_after(5):
            stream = trio.SocketStream(late)
            await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
            heard = b""
            while b"HTTP/2 only" not in heard:
                heard += await stream.receive_some()
        await stream.aclose()
    assert "cannot accept connections for now" in caplog.text
