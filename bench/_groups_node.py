"""One server of bench/groups.py: opens the groups, then answers questions on standard input.

    python _groups_node.py ID ADDRESS PEERS DATA COUNT REST

Each line on standard input is answered by a JSON line: groups led here, groups whose leader is
known and not the server named in the question, groups at rest, and the sum of their terms.
"""

from __future__ import annotations

import json
import sys
from functools import partial

import trio

from trioraft import RaftConfig, Role, open_server, tune_collector
from trioraft.host import RestSettings, Server
from trioraft.machines.counter import CounterMachine

# While groups are awake each of them costs heartbeats: seldom is often enough where there are many.
CONFIG = RaftConfig(election_timeout_min=1.0, election_timeout_max=2.0, heartbeat_interval=0.25)


def answer(server: Server, gone: str) -> str:
    nodes = server.groups.values()
    return json.dumps(
        {
            "led": sum(node.role is Role.LEADER for node in nodes),
            "known": sum(node.leader not in (None, gone) for node in nodes),
            "resting": sum(node.resting for node in nodes),
            "terms": sum(node.term for node in nodes),
        }
    )


async def main(node_id: str, address: str, peers: str, data: str, count: int, rest: bool) -> None:
    settings = RestSettings() if rest else RestSettings(idle_after=float("inf"))
    async with open_server(id=node_id, listen=address, data=data, rest=settings) as server:
        async with trio.open_nursery() as nursery:
            tune_collector()
            limit = trio.CapacityLimiter(16)
            for number in range(count):
                nursery.start_soon(open_one, server, f"group{number}", peers, limit)
        tune_collector()
        print("ready", flush=True)
        buffered = b""
        questions = trio.lowlevel.FdStream(sys.stdin.fileno())
        while data_in := await questions.receive_some():
            buffered += data_in
            *lines, buffered = buffered.split(b"\n")
            for line in lines:
                print(answer(server, line.decode()), flush=True)


async def open_one(server: Server, name: str, peers: str, limit: trio.CapacityLimiter) -> None:
    async with limit:
        await server.open_group(name, CounterMachine(), peers=peers, config=CONFIG)


if __name__ == "__main__":
    identity, where, members, directory, number, resting = sys.argv[1:]
    trio.run(partial(main, identity, where, members, directory, int(number), resting == "yes"))
