"""channelz: when calls and messages last were, keepalives, and connections that are not watched."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import trio
from channelz_world import Various, World, asking
from echo_grpc import EchoStub
from echo_pb2 import EchoRequest
from echo_service import MemoryNetwork

from trioraft.rpc import Keepalive, ServerKeepalive, open_channel, open_server
from trioraft.rpc.client.connections.connection import ClientConnection
from trioraft.rpc.registry.timed import Timed
from trioraft.rpc.services import Registry

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC).timestamp()


def noon_now() -> Registry:
    """A register that is told that it is noon now, and keeps the time from then on."""
    began = trio.current_time()
    return Registry(wall_clock=lambda: NOON + trio.current_time() - began)


def after_noon(stamp: Any) -> float:
    seconds: float = stamp.ToDatetime(UTC).timestamp() - NOON
    return round(seconds, 3)


async def test_when_calls_and_messages_last_were(autojump_clock: object) -> None:
    registry, network = noon_now(), MemoryNetwork()
    async with (
        asking(registry) as world,
        open_server([Various()], listeners=[network], registry=registry),
        open_channel("there", dial=network.dial, registry=registry) as channel,
    ):
        await trio.sleep(1)
        assert not (await world.channel()).data.HasField("last_call_started_timestamp")
        assert not (await world.server()).data.HasField("last_call_started_timestamp")
        async with EchoStub(channel).Chat.open() as stream:
            await stream.send_request()
            await trio.sleep(1)
            assert not await _times(world, "last_message_sent_timestamp")
            await stream.send_message(EchoRequest())
            await stream.recv_message()
            await trio.sleep(1)
            await stream.end()
        await trio.sleep(1)
        shown, server = await world.channel(), await world.server()
        [subchannel] = await world.subchannels()
        for data in (shown.data, subchannel.data, server.data):
            assert after_noon(data.last_call_started_timestamp) == 1
        assert after_noon(shown.data.trace.creation_timestamp) == 0
        assert after_noon(subchannel.data.trace.creation_timestamp) == 1
        ours, theirs = (await world.channel_socket()).data, (await world.server_socket()).data
        assert after_noon(ours.last_local_stream_created_timestamp) == 1
        assert after_noon(theirs.last_remote_stream_created_timestamp) == 1
        assert not ours.HasField("last_remote_stream_created_timestamp")
        assert not theirs.HasField("last_local_stream_created_timestamp")
        for data in (ours, theirs):
            assert after_noon(data.last_message_sent_timestamp) == 2
            assert after_noon(data.last_message_received_timestamp) == 2
        # What a connection knew is kept when it has ended.
        await network.client_ends[0].aclose()
        await trio.sleep(1)
        for data in ((await world.channel()).data, (await world.server()).data):
            assert after_noon(data.last_call_started_timestamp) == 1


async def _times(world: World, field: str) -> bool:
    ours, theirs = await world.channel_socket(), await world.server_socket()
    return ours.data.HasField(field) or theirs.data.HasField(field)


async def test_keepalives_of_a_client_are_counted(autojump_clock: object) -> None:
    patient = ServerKeepalive(min_interval=1, permit_without_calls=True)
    eager = Keepalive(time=20, without_calls=True)
    assert await _keepalives(patient, eager) == (4, 0)


async def test_keepalives_of_a_server_are_counted(autojump_clock: object) -> None:
    ours, theirs = await _keepalives(ServerKeepalive(time=30), None)
    assert ours == 0
    assert theirs in (2, 3)


async def _keepalives(server: ServerKeepalive, client: Keepalive | None) -> tuple[int, int]:
    """Those that a client and a server have sent 99 seconds after a call."""
    registry, network = noon_now(), MemoryNetwork()
    async with (
        asking(registry) as world,
        open_server([Various()], listeners=[network], registry=registry, keepalive=server),
        open_channel("there", dial=network.dial, registry=registry, keepalive=client) as channel,
    ):
        await EchoStub(channel).Unary(EchoRequest())
        await trio.sleep(99)
        ours, theirs = await world.channel_socket(), await world.server_socket()
        return ours.data.keep_alives_sent, theirs.data.keep_alives_sent


async def test_a_session_that_is_over_has_no_windows(world: World, autojump_clock: object) -> None:
    await world.echo.Unary(EchoRequest())
    [subchannel] = world.registry.subchannels.values()
    [connection] = subchannel.connections.values()
    connection.engine.terminate_connection(0)
    while connection.engine.data_to_send():
        pass
    data = (await world.channel_socket()).data
    assert data.streams_started == 1
    assert not data.HasField("local_flow_control_window")
    assert not data.HasField("remote_flow_control_window")


async def test_who_is_not_watched_looks_at_no_clock(autojump_clock: object) -> None:
    network = MemoryNetwork()
    async with (
        open_server([Various()], listeners=[network]) as server,
        open_channel("there", dial=network.dial) as channel,
    ):
        await EchoStub(channel).Unary(EchoRequest())
        connection = channel.connector.current
        assert type(connection) is ClientConnection
        assert not any(isinstance(item, Timed) for item in server._shared.connections)
