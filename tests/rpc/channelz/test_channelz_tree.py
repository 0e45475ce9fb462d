"""channelz: channels, their subchannels and sockets, servers and their listeners."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from channelz_world import asking, calls, told
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import MemoryNetwork, One
from fleet import addresses, fleet_of

from trioraft._proto.grpc import channelz_pb2 as pb
from trioraft.rpc import GRPCError, Limits, Resolution, open_channel, open_server
from trioraft.rpc.client.naming.resolver import ResolverUpdates
from trioraft.rpc.services import Registry

State = pb.ChannelConnectivityState
Event = pb.ChannelTraceEvent


class Names:
    """A resolver that finds what a test says."""

    def __init__(self, names: str) -> None:
        self.names = names
        self.updates: ResolverUpdates | None = None

    async def run(self, updates: ResolverUpdates) -> None:
        self.updates = updates
        self.find(self.names)
        await trio.sleep_forever()

    def find(self, names: str) -> None:
        assert self.updates is not None
        self.updates.found(Resolution(addresses(names)))


async def test_pick_first_has_the_address_that_answers(autojump_clock: object) -> None:
    registry = Registry()
    async with asking(registry) as world, fleet_of("b c") as fleet:
        async with open_channel(
            "abc", dial_address=fleet.dial, resolver=Names("a b c"), registry=registry
        ) as channel:
            assert (await world.channel()).subchannel_ref == []
            await EchoStub(channel).Unary(EchoRequest())
            shown = await world.channel()
            assert shown.data.max_connections_per_subchannel == 1
            [subchannel] = await world.subchannels()
            assert subchannel.ref == shown.subchannel_ref[0]
            assert subchannel.ref.name == subchannel.data.target == "b:1"
            assert subchannel.data.state.state == State.READY
            assert calls(subchannel.data) == (1, 1, 0)
            [ref] = subchannel.socket_ref
            socket = await world.socket(ref.socket_id)
            assert (socket.ref, socket.data.streams_started) == (ref, 1)
            assert told(shown.data.trace) == [
                "state: CONNECTING",
                "resolved: a:1, b:1, c:1",
                *("subchannel for a:1", "subchannel for b:1", "subchannel for c:1"),
                *("no more a:1", "no more c:1"),
                "state: READY",
            ]
            assert told(subchannel.data.trace) == ["state: CONNECTING", "state: READY"]
            assert shown.data.trace.events[3].subchannel_ref == subchannel.ref


async def test_round_robin_has_all_of_them(autojump_clock: object) -> None:
    registry, names = Registry(), Names("a b c")
    async with asking(registry) as world, fleet_of("a c") as fleet:
        fleet.gate = trio.Event()
        async with open_channel(
            *("abc",),
            dial_address=fleet.dial,
            resolver=names,
            registry=registry,
            balancing="round_robin",
        ) as channel:
            channel.connect()
            await trio.sleep(0.1)
            a, b, c = await world.subchannels()
            states = [item.data.state.state for item in (a, b, c)]
            assert states == [State.READY, State.TRANSIENT_FAILURE, State.READY]
            failure = b.data.trace.events[1]
            assert "nobody at b" in failure.description
            assert failure.severity == Event.CT_WARNING
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(EchoStub(channel).Unary, EchoRequest())
                await trio.sleep(0.1)
                names.find("c")
                await trio.sleep(0.1)
                # Those that run go on, on a subchannel that takes no more.
                a, c = await world.subchannels()
                assert (a.data.target, a.data.state.state) == ("a:1", State.SHUTDOWN)
                assert calls(a.data) == calls(c.data) == (2, 0, 0)
                fleet.gate.set()
            await trio.sleep(0.1)
            [c] = await world.subchannels()
            shown = await world.channel()
            assert calls(c.data) == (2, 2, 0)
            assert calls(shown.data) == (4, 4, 0)
            assert told(shown.data.trace)[-2:] == ["no more b:1", "no more a:1"]
            with pytest.raises(GRPCError, match="no subchannel has the id"):
                await world.subchannel(a.ref.subchannel_id)


async def test_idle_channels_have_none_and_forget_no_calls(autojump_clock: object) -> None:
    registry, limits = Registry(), Limits(idle_timeout=10)
    async with asking(registry) as world, fleet_of("a") as fleet:
        async with open_channel(
            "a", dial_address=fleet.dial, resolver=Names("a"), registry=registry, limits=limits
        ) as channel:
            for round_ in (1, 2):
                await EchoStub(channel).Unary(EchoRequest())
                await trio.sleep(30)
                shown = await world.channel()
                assert shown.data.state.state == State.IDLE
                assert shown.subchannel_ref == []
                assert calls(shown.data) == (round_, round_, 0)


async def test_a_subchannel_may_have_several_sockets(autojump_clock: object) -> None:
    registry = Registry()
    few, several = Limits(max_concurrent_streams=1), Limits(max_connections_per_address=3)
    async with asking(registry) as world, fleet_of("a", limits=few) as fleet:
        fleet.gate = trio.Event()
        async with open_channel(
            "a", dial_address=fleet.dial, resolver=Names("a"), registry=registry, limits=several
        ) as channel:
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(EchoStub(channel).Unary, EchoRequest())
                await trio.sleep(1)
                [subchannel] = await world.subchannels()
                sockets = [await world.socket(ref.socket_id) for ref in subchannel.socket_ref]
                assert (await world.channel()).data.max_connections_per_subchannel == 3
                assert [socket.data.streams_started for socket in sockets] == [1, 1, 1]
                assert sockets[0].data.peer_max_concurrent_streams == 1
                fleet.gate.set()
            await fleet.disconnect("a")
            await trio.sleep(1)
            [subchannel] = await world.subchannels()
            assert len(subchannel.socket_ref) == 0
            assert calls(subchannel.data) == calls((await world.channel()).data) == (3, 3, 0)
            ended = [line for line in told(subchannel.data.trace) if "ended" in line]
            assert [line.split()[1] for line in ended] == [
                str(socket.ref.socket_id) for socket in sockets
            ]


async def test_listeners_until_the_server_stops(autojump_clock: object) -> None:
    registry, networks = Registry(), [MemoryNetwork(), MemoryNetwork()]
    gate = trio.Event()

    async def wait(stream: Any) -> None:
        await stream.recv_message()
        await gate.wait()
        await stream.send_message(EchoReply())

    async with asking(registry) as world, trio.open_nursery() as nursery:
        async with open_server([One(wait)], listeners=networks, registry=registry) as server:
            shown = await world.server()
            assert len(shown.listen_socket) == 2
            for ref, network in zip(shown.listen_socket, networks, strict=True):
                socket = await world.socket(ref.socket_id)
                assert socket.local.other_address.name == str(network)
                assert (socket.ref, socket.data) == (ref, pb.SocketData())
            async with open_channel("there", dial=networks[1].dial) as channel:
                nursery.start_soon(EchoStub(channel).Unary, EchoRequest())
                await trio.sleep(1)
                nursery.start_soon(server.stop)
                await trio.sleep(1)
                stopping = await world.server()
                assert stopping.listen_socket == []
                assert told(stopping.data.trace) == ["accepts no more connections"]
                assert calls(stopping.data) == (1, 0, 0)
                with pytest.raises(GRPCError, match="no socket has the id"):
                    await world.socket(ref.socket_id)
                gate.set()
                await server.wait_stopped()
