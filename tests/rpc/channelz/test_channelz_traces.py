"""channelz: what has happened to a channel, as its trace tells it."""

from __future__ import annotations

import trio
from channelz_world import World, asking, told
from fleet import addresses, fleet_of

from trioraft._proto.grpc import channelz_pb2 as pb
from trioraft.rpc import Resolution, open_channel
from trioraft.rpc.client.naming.resolver import ResolverUpdates
from trioraft.rpc.registry.trace import MAX_EVENTS, Trace
from trioraft.rpc.services import Registry

Event = pb.ChannelTraceEvent


async def test_a_trace_has_a_bound(world: World, autojump_clock: object) -> None:
    [entry] = world.registry.channels.values()
    for number in range(100):
        entry.problem(f"{number} " + "x" * 1000)
    trace = (await world.channel()).data.trace
    assert trace.num_events_logged == 100
    assert len(trace.events) == MAX_EVENTS
    assert [told(trace)[n].split()[0] for n in (0, -1)] == ["80", "99"]
    assert {len(line) for line in told(trace)} == {200}


async def test_resolvers_and_their_configs(autojump_clock: object) -> None:
    class Failing:
        async def run(self, updates: ResolverUpdates) -> None:
            updates.failed(OSError("no such name"))
            await trio.sleep(1)
            updates.found(Resolution(addresses("a"), {"methodConfig": 7}))
            updates.found(Resolution(addresses("a")))
            await trio.sleep_forever()

    registry = Registry()
    async with asking(registry) as world, fleet_of("a") as fleet:
        async with open_channel(
            "a", dial_address=fleet.dial, resolver=Failing(), registry=registry
        ) as channel:
            channel.connect()
            await trio.sleep(10)
            trace = (await world.channel()).data.trace
    lines = told(trace)
    assert lines[1] == "cannot resolve: no such name"
    assert lines[2].startswith("state: TRANSIENT_FAILURE: ")
    assert lines[3].startswith("service config refused: ")
    assert [line for line in lines if line.startswith("resolved")] == ["resolved: a:1"]
    assert {event.severity for event in trace.events[1:4]} == {Event.CT_WARNING}


async def test_a_trace_knows_its_beginning(autojump_clock: object) -> None:
    began = trio.current_time()
    trace = Trace()
    await trio.sleep(5)
    trace.add("something")
    [event] = trace.events
    assert (trace.created, event.at, trace.logged) == (began, began + 5, 1)
