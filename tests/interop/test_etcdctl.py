"""Debian's `etcdctl` (3.4) against three real `trioraft node` processes.

When it asks a single member (`endpoint status`), etcdctl 3.4 copies an endpoint that is a URL into
`:authority`, which our HTTP/2 layer refuses, so endpoints are written as `host:port` here.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
from _cluster import LocalCluster

ETCDCTL = shutil.which("etcdctl")

pytestmark = pytest.mark.skipif(ETCDCTL is None, reason="needs etcdctl (apt install etcd-client)")

StartCluster = Callable[..., Awaitable[LocalCluster]]


async def run(endpoints: str, *arguments: str, stdin: str = "", check: bool = True) -> str:
    """What etcdctl prints; on failure, with `check` off, what it prints to standard error."""
    assert ETCDCTL is not None
    with trio.fail_after(30):
        finished = await trio.run_process(
            [ETCDCTL, f"--endpoints={endpoints}", *arguments],
            stdin=stdin.encode(),
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env={**os.environ, "ETCDCTL_API": "3"},
        )
    output, errors = finished.stdout.decode(), finished.stderr.decode()
    if check:
        assert finished.returncode == 0, f"etcdctl {arguments}: {output}{errors}"
        return output
    assert finished.returncode != 0, output
    return errors


async def run_json(endpoints: str, *arguments: str) -> Any:
    return json.loads(await run(endpoints, *arguments, "-w", "json"))


TXN = """\
value("fruit/apple") = "green"
version("fruit/pear") = "0"

put fruit/pear yellow
get fruit/apple
del fruit/plum

get fruit/missing

"""


async def test_the_commands_of_every_day(start_cluster: StartCluster) -> None:
    cluster = await start_cluster()
    ctl = partial(run, cluster.endpoints)

    assert await ctl("put", "fruit/apple", "red") == "OK\n"
    assert await ctl("put", "fruit/plum", "blue") == "OK\n"
    assert await ctl("put", "--prev-kv", "fruit/apple", "green") == "OK\nfruit/apple\nred\n"
    await ctl("put", "fruit/stdin", stdin="from a pipe")
    assert await ctl("get", "fruit/stdin", "--print-value-only") == "from a pipe\n"
    listed = await ctl("get", "--prefix", "fruit/", "--keys-only")
    assert listed.split() == ["fruit/apple", "fruit/plum", "fruit/stdin"]
    newest = await ctl(
        "get", "--prefix", "fruit/", "--sort-by=modify", "--order=descend", "--limit=1"
    )
    assert newest == "fruit/stdin\nfrom a pipe\n"

    done = await ctl("txn", stdin=TXN)
    assert done == "SUCCESS\n\nOK\n\nfruit/apple\ngreen\n\n1\n"
    assert (await ctl("txn", stdin=TXN)).startswith("FAILURE\n")

    assert await ctl("get", "fruit/apple", "--rev=2", "--print-value-only") == "red\n"
    assert await ctl("compaction", "4") == "compacted revision 4\n"
    too_old = await ctl("get", "fruit/apple", "--rev=2", check=False)
    assert "etcdserver: mvcc: required revision has been compacted" in too_old
    assert "required revision is a future revision" in await ctl("compaction", "99", check=False)

    assert await ctl("del", "fruit/apple") == "1\n"
    assert await ctl("del", "--prefix", "fruit/", "--prev-kv") == (
        "2\nfruit/pear\nyellow\nfruit/stdin\nfrom a pipe\n"
    )
    assert await ctl("get", "--prefix", "") == ""


async def test_looking_at_the_cluster(start_cluster: StartCluster) -> None:
    cluster = await start_cluster()
    leader = await cluster.wait_leader()
    names = list(cluster.nodes)
    await run(cluster.endpoints, "put", "a", "b")

    listed = (await run_json(cluster.endpoints, "member", "list"))["members"]
    assert [member["name"] for member in listed] == names
    ids = {member["name"]: member["ID"] for member in listed}
    assert len(set(ids.values())) == len(names)
    for member in listed:
        assert member["clientURLs"] == [f"http://{cluster.nodes[member['name']].address}"]

    # A majority has the write; the last node may not have heard of anything yet.
    with trio.fail_after(20):
        while True:
            statuses = await run_json(cluster.endpoints, "endpoint", "status")
            if all("raftAppliedIndex" in status["Status"] for status in statuses):
                break
    by_address = {status["Endpoint"]: status["Status"] for status in statuses}
    for name, node in cluster.nodes.items():
        status = by_address[node.address]
        assert status["header"]["member_id"] == ids[name]
        assert status["leader"] == ids[leader]
        assert status["raftIndex"] >= status["raftAppliedIndex"] > 0
        assert status["dbSize"] > 0

    health = await run_json(cluster.endpoints, "endpoint", "health")
    assert [entry["health"] for entry in health] == [True] * len(names)
    assert (await run(cluster.endpoints, "alarm", "list")).strip() == ""

    # A serializable read may be behind; a linearizable one through every node sees the put.
    for node in cluster.nodes.values():
        assert await run(node.address, "get", "a", "--print-value-only") == "b\n"
        assert await run(node.address, "get", "b", "--consistency=s") == ""
    hashes = await run_json(cluster.endpoints, "endpoint", "hashkv", "--rev=2")
    assert len({entry["HashKV"]["hash"] for entry in hashes}) == 1


async def test_what_is_missing_says_so(start_cluster: StartCluster) -> None:
    cluster = await start_cluster()
    ctl = partial(run, cluster.endpoints, check=False)
    assert "Unimplemented" in await ctl("lease", "grant", "10")
    assert "key is not provided" in await ctl("put", "", "value")
    assert "requested lease not found" in await ctl("put", "--lease=7b", "key", "value")


@pytest.mark.parametrize("wire", ["ratis", "openraft"])
async def test_nothing_is_lost_when_the_leader_is_killed(
    start_cluster: StartCluster, wire: str
) -> None:
    cluster = await start_cluster(wire=wire)
    leader = await cluster.wait_leader()
    for number in range(5):
        await run(cluster.endpoints, "put", f"before/{number}", str(number))
    await cluster.kill(leader)
    await cluster.wait_leader(other_than=leader)
    alive = ",".join(n.address for name, n in cluster.nodes.items() if name != leader)
    for number in range(5):
        await run(alive, "put", f"after/{number}", str(number))
    counted = await run_json(alive, "get", "--prefix", "", "--keys-only")
    assert counted["count"] == 10

    down = cluster.nodes[leader].address
    unhealthy = await run(down, "--command-timeout=500ms", "endpoint", "health", check=False)
    assert "unhealthy" in unhealthy
    await cluster.start(leader)
    found = await run_json(down, "get", "--prefix", "", "--keys-only")
    assert found["count"] == 10
    assert found["header"]["revision"] == counted["header"]["revision"]


async def test_members_come_and_go(start_cluster: StartCluster) -> None:
    """A node that joins is started first: `member add` asks it at its URL who it is."""
    cluster = await start_cluster()
    endpoints = cluster.endpoints
    joiner = cluster.plan_joiner("n4")
    url = f"--peer-urls=http://{joiner.address}"
    early = await run(endpoints, "member", "add", "n4", url, check=False)
    assert "start it with --join first" in early
    await cluster.start("n4")
    added = await run(endpoints, "member", "add", "n4", url, "--learner")
    assert "added to cluster" in added

    async def members() -> dict[str, Any]:
        rows = (await run_json(endpoints, "member", "list"))["members"]
        return {row["name"]: row for row in rows}

    rows = await members()
    assert rows["n4"]["isLearner"]
    assert rows["n4"]["peerURLs"] == [f"http://{joiner.address}"]
    again = await run(endpoints, "member", "add", "n4", url, check=False)
    assert "Peer URLs already exists" in again
    number = f"{rows['n4']['ID']:x}"
    assert "promoted" in await run(endpoints, "member", "promote", number)
    assert "isLearner" not in (await members())["n4"]
    twice = await run(endpoints, "member", "promote", number, check=False)
    assert "can only promote a learner member" in twice

    await run(endpoints, "put", "a", "b")
    leader = await cluster.wait_leader()
    assert "transferred" in await run(cluster.endpoints, "move-leader", number)
    await cluster.wait_leader(other_than=leader)
    assert await cluster.leader() == "n4"

    gone = f"{rows['n1']['ID']:x}"
    assert "removed from cluster" in await run(endpoints, "member", "remove", gone)
    assert sorted(await members()) == ["n2", "n3", "n4"]
    unknown = await run(endpoints, "member", "remove", gone, check=False)
    assert "member not found" in unknown
    moved = await run(endpoints, "member", "update", number, "--peer-urls=nowhere", check=False)
    assert "URL" in moved
