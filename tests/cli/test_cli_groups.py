"""`trioraft admin groups` against servers with several groups."""

from __future__ import annotations

import json
import socket
from functools import partial

import trio
from click.testing import CliRunner, Result

from trioraft import RaftConfig
from trioraft.cli import main
from trioraft.host import LinkSettings, RestSettings, Server, open_server
from trioraft.machines.counter import CounterMachine

FAST = RaftConfig(election_timeout_min=0.5, election_timeout_max=1.0, heartbeat_interval=0.1)
REST = RestSettings(idle_after=0.1, check_interval=0.02)
LINKS = LinkSettings(interval=0.1, timeout=0.5)


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return f"127.0.0.1:{held.getsockname()[1]}"


async def groups(*arguments: str) -> Result:
    invoke = partial(CliRunner().invoke, main, ["admin", "groups", *arguments])
    with trio.fail_after(60):
        return await trio.to_thread.run_sync(invoke)


async def wait_rest(server: Server, *names: str) -> None:
    with trio.fail_after(20):
        while not all(server.groups[name].resting for name in names):
            await trio.sleep(0.02)


async def test_groups_are_listed_with_leader_term_and_rest() -> None:
    address = free_address()
    peers = {"n1": address}
    absent = {"n1": address, "n2": free_address(), "n3": free_address()}
    async with open_server(id="n1", listen=address, links=LINKS, rest=REST) as server:
        orders = await server.open_group("orders", CounterMachine(), peers=peers, config=FAST)
        await server.open_group("carts", CounterMachine(), peers=peers, config=FAST)
        await server.open_group("lost", CounterMachine(), peers=absent, config=FAST)
        await orders.propose(b"1")
        await wait_rest(server, "orders", "carts")

        told = await groups("--endpoints", address, "--json")
        assert told.exit_code == 0, told.output
        rows = {row["name"]: row for row in json.loads(told.stdout)["groups"]}
        assert list(rows) == ["carts", "lost", "orders"]
        assert rows["orders"]["id"] == orders.status().group_id.hex()
        assert rows["orders"]["leader"] == "n1"
        assert rows["orders"]["commit_index"] == orders.commit_index
        assert (rows["orders"]["resting"], rows["lost"]["leader"]) == (True, None)

        told = await groups("--endpoints", address)
        assert told.exit_code == 0, told.output
        assert "orders" in told.stdout

        told = await groups("--endpoints", address, "--leaderless", "--json")
        assert [row["name"] for row in json.loads(told.stdout)["groups"]] == ["lost"]
        told = await groups("--endpoints", f"{address},{absent['n2']}", "--timeout", "1")
        assert told.exit_code == 1
        assert "1 of 2 servers do not answer" in told.output
