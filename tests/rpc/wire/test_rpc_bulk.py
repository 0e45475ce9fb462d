"""Bulk streams: windows that grow, and neighbours that are not held up."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from echo_service import CHAT, running, serving

from trioraft.rpc import Cardinality, Channel, Encoded, Handler, Limits, open_channel
from trioraft.rpc.limits import KIB, MIB

DOWN = "/trioraft.testing.Bulk/Down"
UP = "/trioraft.testing.Bulk/Up"
MESSAGE = bytes(range(256)) * 4 * KIB


class Bulk:
    """Sends, or takes, as much as is asked for."""

    def __mapping__(self) -> dict[str, Handler]:
        return {
            DOWN: Handler(self.down, Cardinality.UNARY_STREAM, Encoded, Encoded),
            UP: Handler(self.up, Cardinality.STREAM_UNARY, Encoded, Encoded),
        }

    async def down(self, stream: Any) -> None:
        for _ in range(int(await stream.recv_message())):
            await stream.send_message(Encoded(MESSAGE))

    async def up(self, stream: Any) -> None:
        self.stream = stream
        count = 0
        async for message in stream:
            assert message == MESSAGE
            count += 1
        await stream.send_message(Encoded(b"%d" % count))


def down(channel: Channel) -> Any:
    return channel.request(DOWN, Cardinality.UNARY_STREAM, Encoded, Encoded)


def window_of(stream: Any) -> int:
    return stream._connection.engine.stream_local_window_size(stream._id)


async def test_the_window_of_a_bulk_stream_grows_and_its_place_becomes_free() -> None:
    async with running([Bulk()]) as channel:
        for _ in range(20):  # more than may have such a window at once
            async with down(channel) as stream:
                await stream.send_message(Encoded(b"60"))
                assert await stream.recv_message() == MESSAGE
                for _ in range(5):
                    assert await stream.recv_message() == MESSAGE
                assert stream._connection.bulk_streams == 1
                assert window_of(stream) > 2 * MIB
                connection = stream._connection
                await stream.cancel()
        with trio.fail_after(5):
            while connection.bulk_streams:
                await trio.sleep(0.01)


async def test_servers_widen_too() -> None:
    service = Bulk()
    async with (
        serving([service]) as address,
        open_channel(address) as channel,
        channel.request(UP, Cardinality.STREAM_UNARY, Encoded, Encoded) as stream,
    ):
        for _ in range(20):
            await stream.send_message(Encoded(MESSAGE))
        connection = service.stream._connection
        assert connection.bulk_streams == 1
        await stream.end()
        assert await stream.recv_message() == b"20"
        with trio.fail_after(5):
            while connection.bulk_streams:
                await trio.sleep(0.01)


@pytest.mark.parametrize(
    "limits", [Limits(bulk_window=0), Limits(bulk_window=512 * KIB), Limits(max_bulk_streams=0)]
)
async def test_windows_that_never_grow(limits: Limits) -> None:
    async with running([Bulk()], client=limits) as channel, down(channel) as stream:
        await stream.send_message(Encoded(b"60"))
        for _ in range(10):
            assert await stream.recv_message() == MESSAGE
            assert window_of(stream) <= 512 * KIB
        await stream.cancel()


async def test_no_more_streams_than_the_limit_have_large_windows() -> None:
    async with running([Bulk()], client=Limits(max_bulk_streams=2)) as channel:
        streams = []
        async with trio.open_nursery() as nursery:

            async def call() -> None:
                async with down(channel) as stream:
                    streams.append(stream)
                    await stream.send_message(Encoded(b"100"))
                    for _ in range(5):
                        await stream.recv_message()
                    await trio.sleep_forever()

            for _ in range(5):
                nursery.start_soon(call)
            with trio.fail_after(10):
                while sum(stream._taken for stream in streams) < 5:
                    await trio.sleep(0.01)
            await trio.sleep(0.3)
            assert streams[0]._connection.bulk_streams == 2
            nursery.cancel_scope.cancel()


async def test_a_slow_reader_gets_no_larger_window() -> None:
    """Only an application that keeps up does: much that waits is none of ours to ask for."""
    small = b"x" * KIB

    async def handle(stream: Any) -> None:
        async for _ in stream:
            for _ in range(8 * KIB):
                await stream.send_message(Encoded(small))

    async with running([_Raw(handle)]) as channel:
        kind = Cardinality.STREAM_STREAM
        async with channel.request(CHAT, kind, Encoded, Encoded) as stream:
            await stream.send_message(Encoded(b""))
            for taken in range(3 * KIB):
                if taken % 400 == 0:
                    await trio.sleep(0.01)  # meanwhile the window fills up
                await stream.recv_message()
            assert stream._connection.bulk_streams == 0
            await stream.cancel()


class _Raw:
    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def __mapping__(self) -> dict[str, Handler]:
        return {CHAT: Handler(self._handle, Cardinality.STREAM_STREAM, Encoded, Encoded)}


async def test_small_calls_beside_a_bulk_stream_are_answered() -> None:
    async with running([Bulk()]) as channel:
        async with trio.open_nursery() as nursery:

            async def pull() -> None:
                async with down(channel) as stream:
                    await stream.send_message(Encoded(b"100000"))
                    async for _ in stream:
                        await trio.lowlevel.checkpoint()

            nursery.start_soon(pull)
            await trio.sleep(0.05)
            with trio.fail_after(10):
                for _ in range(20):
                    async with down(channel) as stream:
                        await stream.send_message(Encoded(b"1"))
                        assert await stream.recv_message() == MESSAGE
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "wrong",
    [
        {"bulk_window": -1},
        {"bulk_window": 2**31},
        {"max_bulk_streams": -1},
        {"max_bulk_streams": 129},
    ],
)
def test_limits_that_make_no_sense(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="bulk"):
        Limits(**wrong)
