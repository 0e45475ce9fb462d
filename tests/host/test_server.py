"""Many groups on servers of one process, with real sockets."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio

from trioraft import ConfigurationError, GroupStoppedError, RaftConfig, Role
from trioraft._proto.grpc.health_grpc import HealthStub
from trioraft._proto.grpc.health_pb2 import HealthCheckRequest
from trioraft.host import RestSettings, Server, open_server
from trioraft.machines.counter import CounterMachine
from trioraft.node import UnknownGroupError
from trioraft.protocols.local.link import LinkSettings
from trioraft.rpc import open_channel
from trioraft.rpc.services import HealthService, ServingStatus

FAST = RaftConfig(election_timeout_min=0.5, election_timeout_max=1.0, heartbeat_interval=0.1)
REST = RestSettings(idle_after=0.3, check_interval=0.05)
LINKS = LinkSettings(interval=0.1, timeout=0.5)


def addresses(count: int) -> dict[str, str]:
    """Ids and addresses whose ports were free a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [held.getsockname()[1] for held in sockets]
    for held in sockets:
        held.close()
    return {f"n{number}": f"127.0.0.1:{port}" for number, port in enumerate(ports, 1)}


@asynccontextmanager
async def servers(
    peers: Mapping[str, str], data: Path | None = None
) -> AsyncIterator[dict[str, Server]]:
    async with AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(
                open_server(
                    id=name,
                    listen=address,
                    data=None if data is None else data / name,
                    links=LINKS,
                    rest=REST,
                )
            )
            for name, address in peers.items()
        }


async def open_everywhere(
    group: str, on: Mapping[str, Server], peers: Mapping[str, str]
) -> dict[str, CounterMachine]:
    machines = {name: CounterMachine() for name in on}
    for name, server in on.items():
        await server.open_group(group, machines[name], peers=peers, config=FAST)
    return machines


def leader_of(group: str, on: Mapping[str, Server]) -> str | None:
    return next((n for n, s in on.items() if s.groups[group].role is Role.LEADER), None)


async def wait_leader(group: str, on: Mapping[str, Server]) -> str:
    with trio.fail_after(10):
        while (leader := leader_of(group, on)) is None:
            await trio.sleep(0.01)
    return leader


def resting(group: str, on: Mapping[str, Server]) -> int:
    return sum(server.groups[group].resting for server in on.values())


async def wait_resting(group: str, on: Mapping[str, Server], count: int) -> None:
    with trio.fail_after(10):
        while resting(group, on) != count:
            await trio.sleep(0.02)


async def test_groups_are_opened_listed_and_closed_while_running() -> None:
    peers = addresses(3)
    async with servers(peers) as on:
        for group in ("a", "b"):
            await open_everywhere(group, on, peers)
            await wait_leader(group, on)
        first = on[next(iter(peers))]
        assert list(first.groups) == ["a", "b"]
        assert await first.groups["a"].propose(b"5") == b"5"
        assert await first.groups["b"].propose(b"7") == b"7"
        with pytest.raises(ConfigurationError, match="open on server"):
            await first.open_group("a", CounterMachine(), peers=peers)
        for server in on.values():
            await server.close_group("a")
        with pytest.raises(UnknownGroupError, match="'a'"):
            await first.close_group("a")
        assert list(first.groups) == ["b"]
        assert await first.groups["b"].query(b"") == b"7"
        assert [group.group_id for group in first.status_reply().groups] == [
            first.groups["b"].status().group_id
        ]


async def test_a_closed_group_comes_back_and_a_deleted_one_is_forgotten(tmp_path: Path) -> None:
    peers = addresses(1)
    (name,) = peers
    async with servers(peers, tmp_path) as on:
        await open_everywhere("kept", on, peers)
        await open_everywhere("gone", on, peers)
        for group in ("kept", "gone"):
            await wait_leader(group, on)
            assert await on[name].groups[group].propose(b"3") == b"3"
        await on[name].close_group("kept")
        await on[name].close_group("gone", delete=True)
        assert len(list((tmp_path / name / "groups").iterdir())) == 1
        for group, value in (("kept", b"3"), ("gone", b"0")):
            await open_everywhere(group, on, peers)
            await wait_leader(group, on)
            assert await on[name].groups[group].query(b"") == value


async def test_an_idle_group_rests_and_wakes_for_a_write() -> None:
    peers = addresses(3)
    async with servers(peers) as on:
        await open_everywhere("g", on, peers)
        leader = await wait_leader("g", on)
        await wait_resting("g", on, 3)
        term = on[leader].groups["g"].term
        await trio.sleep(1.0)  # several election timeouts
        assert resting("g", on) == 3
        assert await on[leader].groups["g"].propose(b"1") == b"1"
        assert await on[leader].groups["g"].query(b"") == b"1"
        await wait_resting("g", on, 3)
        assert on[leader].groups["g"].term == term


async def test_a_lost_server_wakes_its_groups_and_the_others_go_on() -> None:
    peers = addresses(3)
    on: dict[str, Server] = {}
    scopes = {name: trio.CancelScope() for name in peers}

    async def live(name: str, *, task_status: trio.TaskStatus[Server]) -> None:
        with scopes[name]:
            async with open_server(id=name, listen=peers[name], links=LINKS, rest=REST) as server:
                task_status.started(server)
                await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        for name in peers:
            on[name] = await nursery.start(live, name)
        await open_everywhere("g", on, peers)
        leader = await wait_leader("g", on)
        assert await on[leader].groups["g"].propose(b"1") == b"1"
        await wait_resting("g", on, 3)
        scopes[leader].cancel()
        del on[leader]
        heir = await wait_leader("g", on)
        assert await on[heir].groups["g"].query(b"") == b"1"
        await wait_resting("g", on, 2)  # one is away: the quorum rests without it
        assert await on[heir].groups["g"].propose(b"1") == b"2"
        nursery.cancel_scope.cancel()


async def test_heartbeats_of_many_groups_share_one_stream() -> None:
    peers = addresses(3)
    async with servers(peers) as on:
        for number in range(8):
            await open_everywhere(f"g{number}", on, peers)
        for number in range(8):
            await wait_leader(f"g{number}", on)
        for number in range(8):
            await wait_resting(f"g{number}", on, 3)
            node = next(iter(on.values())).groups[f"g{number}"]
            assert await node.propose(b"1") == b"1"


async def test_a_stopped_group_leads_nothing() -> None:
    peers = addresses(1)
    async with servers(peers) as on:
        ((name, server),) = on.items()
        node = await server.open_group("g", CounterMachine(), peers=peers, config=FAST)
        await node.wait_role(Role.LEADER)
        term = node.term
        await server.close_group("g")
        assert (node.role, node.leader, node.term) == (Role.FOLLOWER, None, term)
        assert node.status().role == "stopped"
        with pytest.raises(GroupStoppedError, match=f"stopped on node {name}"):
            await node.propose(b"1")


async def test_each_group_has_a_health_status_under_its_name() -> None:
    ((name, address),) = addresses(1).items()
    health = HealthService()
    async with open_server(
        id=name, listen=address, links=LINKS, rest=REST, health=health
    ) as server:
        peers = {name: address}
        node = await server.open_group("g", CounterMachine(), peers=peers, config=FAST)
        assert health.get("g") is ServingStatus.NOT_SERVING
        await node.wait_role(Role.LEADER)
        with trio.fail_after(10):
            while health.get("g") is not ServingStatus.SERVING:
                await trio.sleep(0.01)
        async with open_channel(address) as channel:
            asked = HealthCheckRequest(service="g")
            reply = await HealthStub(channel).Check(asked)
        assert ServingStatus(int(reply.status)) is ServingStatus.SERVING
        await server.close_group("g")
        assert health.get("g") is ServingStatus.SERVICE_UNKNOWN
        assert health.get() is ServingStatus.SERVING


async def test_founders_have_priorities() -> None:
    peers = addresses(3)
    async with servers(peers) as on:
        for server in on.values():
            await server.open_group(
                "g", CounterMachine(), peers=peers, priorities={"n2": 2, "n3": 1}, config=FAST
            )
        with trio.fail_after(10):
            await on["n2"].groups["g"].wait_role(Role.LEADER)
        members = on["n1"].groups["g"].members
        assert [member.priority for member in members] == [0, 2, 1]
        with pytest.raises(ConfigurationError, match="'n9' is not in peers"):
            await on["n1"].open_group("h", CounterMachine(), peers=peers, priorities={"n9": 1})
        with pytest.raises(ConfigurationError, match="-1 of n1"):
            await on["n1"].open_group("h", CounterMachine(), peers=peers, priorities={"n1": -1})
