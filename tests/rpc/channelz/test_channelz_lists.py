"""channelz: ids, pages, addresses."""

from __future__ import annotations

import pytest
from channelz_world import World

from trioraft._proto.grpc import channelz_pb2 as pb
from trioraft.rpc import (
    GRPCError,
    Status,
)
from trioraft.rpc.services.channelz.sockets import address_message


async def test_unknown_ids_and_bad_pages(world: World, autojump_clock: object) -> None:
    stub = world.stub
    for ask in (
        stub.GetServer(pb.GetServerRequest(server_id=99)),
        stub.GetServerSockets(pb.GetServerSocketsRequest(server_id=99)),
        stub.GetChannel(pb.GetChannelRequest(channel_id=99)),
        stub.GetSubchannel(pb.GetSubchannelRequest(subchannel_id=1)),
        stub.GetSocket(pb.GetSocketRequest(socket_id=99)),
    ):
        with pytest.raises(GRPCError) as caught:
            await ask
        assert caught.value.status is Status.NOT_FOUND
    for bad in (pb.GetServersRequest(max_results=-1), pb.GetServersRequest(start_server_id=-1)):
        with pytest.raises(GRPCError) as caught:
            await stub.GetServers(bad)
        assert caught.value.status is Status.INVALID_ARGUMENT


async def test_pages(world: World, autojump_clock: object) -> None:
    for number in range(250):
        world.registry.add_server(f"s{number}")

    async def page(start: int, size: int) -> pb.GetServersResponse:
        request = pb.GetServersRequest(start_server_id=start, max_results=size)
        return await world.stub.GetServers(request)

    first = await page(0, 0)
    assert (len(first.server), first.end) == (100, False)
    ids = [server.ref.server_id for server in first.server]
    while True:
        more = await page(ids[-1] + 1, 60)
        ids += [server.ref.server_id for server in more.server]
        if more.end:
            break
    assert len(ids) == 251
    assert ids == sorted(set(ids))
    assert ((await page(0, 10_000)).end, len((await page(0, 251)).server)) == (True, 251)
    for entry in list(world.registry.servers.values())[1:]:
        world.registry.remove_server(entry)


def test_addresses() -> None:
    assert address_message(("127.0.0.1", 80)).tcpip_address.ip_address == b"\x7f\0\0\1"
    link_local = address_message(("fe80::1%eth0", 80, 0, 2)).tcpip_address
    assert (len(link_local.ip_address), link_local.port) == (16, 80)
    assert address_message("/run/x").uds_address.filename == "/run/x"
    assert address_message(b"\0x").uds_address.filename == "@x"
    assert address_message(("name", 80)).other_address.name == "('name', 80)"
    assert address_message(7).other_address.name == "7"
