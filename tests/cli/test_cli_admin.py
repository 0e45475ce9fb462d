"""`trioraft admin` against real node processes, as an operator runs it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner, Result

from trioraft.cli import main
from trioraft.cli.demo.cluster import LocalCluster, open_cluster
from trioraft.cli.demo.ports import free_addresses

#: Elections that do not make a test wait; the machine may be busy, so not faster.
FAST = ("--election-timeout", "500", "--heartbeat", "100", "--staging-timeout", "1")


async def run(*arguments: str) -> Result:
    """Run a client command to its end, in a thread: it has a Trio of its own."""
    invoke = partial(CliRunner(env={"TRIORAFT_ENDPOINTS": None}).invoke, main, arguments)
    with trio.fail_after(60):
        return await trio.to_thread.run_sync(invoke)


class Operator:
    """Runs `trioraft admin` on a cluster."""

    def __init__(self, cluster: LocalCluster) -> None:
        self.cluster = cluster

    async def __call__(self, *arguments: str) -> str:
        result = await run("admin", *arguments, "--endpoints", self.cluster.endpoints)
        assert result.exit_code == 0, result.output
        return result.stdout

    async def refused(self, *arguments: str) -> str:
        result = await run("admin", *arguments, "--endpoints", self.cluster.endpoints)
        assert result.exit_code in (1, 2), result.output
        assert "Traceback" not in result.output
        return result.output

    async def members(self) -> dict[str, dict[str, Any]]:
        rows = json.loads(await self("members", "--json"))["members"]
        return {row["id"]: row for row in rows}


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[Operator]:
    async with open_cluster(tmp_path / "c", size=3, options=FAST) as cluster:
        yield Operator(cluster)


async def test_a_cluster_grows_and_shrinks(admin: Operator) -> None:
    cluster = admin.cluster
    node = cluster.plan_joiner("n4")
    refused = await admin.refused("add", f"n4={node.address}", "--learner")
    assert f"nothing was changed: no node answers at {node.address}" in refused
    assert "Start n4 there with --join, or say --absent" in refused
    await cluster.start("n4")
    refused = await admin.refused("add", f"n5={node.address}", "--learner")
    assert f"nothing was changed: the node at {node.address} is n4, not n5" in refused
    told = await admin("add", f"n4={node.address}", "--learner")
    assert told == "n4 is a learner now; voters: n1, n2, n3; learners: n4\n"
    with trio.fail_after(20):
        while (await admin.members())["n4"]["lag"] > 0:
            await trio.sleep(0.02)
    assert (await admin.members())["n4"]["part"] == "learner"
    assert await admin("promote", "n4") == "promoted n4; voters: n1, n2, n3, n4\n"
    assert (await admin.members())["n4"]["role"] == "follower"
    told = await admin("promote", "n4", "n1")
    assert told == "n1 is a voter already; n4 is a voter already; voters: n1, n2, n3, n4\n"
    told = await admin("demote", "n1")
    assert told == "demoted n1; voters: n2, n3, n4; learners: n1\n"
    told = await admin("demote", "n1")
    assert told == "n1 is a learner already; voters: n2, n3, n4; learners: n1\n"
    assert await admin("remove", "n1") == "removed n1; voters: n2, n3, n4\n"
    [nowhere] = free_addresses(1)
    told = await admin("add", f"n5={nowhere}", "--learner", "--absent")
    assert told == "n5 is a learner now; voters: n2, n3, n4; learners: n5\n"
    assert "--absent goes with --learner" in await admin.refused("add", f"n6={nowhere}", "--absent")
    table = await admin("members")
    assert "n4" in table
    assert "voter" in table
    # Another set of members, unless somebody was faster.
    refused = await admin.refused("set", "n2,n3", "--expect", "n1,n2")
    assert "Nothing was changed" in refused
    assert await admin("set", "n2,n3", "--expect", "n2,n3,n4") == "done; voters: n2, n3\n"


async def test_leadership_snapshots_and_elections(admin: Operator) -> None:
    cluster = admin.cluster
    leader = await cluster.wait_leader()
    heir = next(name for name in cluster.nodes if name != leader)
    assert await admin("transfer", heir) == f"{heir} leads now\n"
    assert (await admin("transfer")).endswith(" leads now\n")
    lines = (await admin("snapshot")).splitlines()
    assert [line.split(":")[0] for line in lines] == ["n1", "n2", "n3"]
    assert "snapshot at index" in await admin("snapshot", "n2")
    assert await admin("elections", "pause", "n1") == "elections paused on n1\n"
    assert (await admin.members())["n1"]["elections_paused"]
    assert "(paused)" in await admin("members")
    assert await admin("elections", "resume") == "elections resumed on n1, n2, n3\n"
    rows = await admin.members()
    assert all(row["snapshot_index"] >= 0 for row in rows.values())


async def test_a_member_that_is_down_keeps_no_other_from_being_asked(admin: Operator) -> None:
    await admin.cluster.kill("n2")
    told = await admin.refused("elections", "pause")
    assert "n2 does not answer (" in told
    assert "Done on: n1, n3. Start the others and try again, or name the members" in told
    assert await admin("elections", "resume", "n1", "n3") == "elections resumed on n1, n3\n"
    told = await admin.refused("snapshot", "n2")
    assert "Done on: none" in told


async def test_priorities_move_leadership(admin: Operator) -> None:
    cluster = admin.cluster
    leader = await cluster.wait_leader()
    heir = next(name for name in cluster.nodes if name != leader)
    await admin("update", heir, "--priority", "5")
    assert (await admin.members())[heir]["priority"] == 5
    with trio.fail_after(20):
        while await cluster.leader() != heir:
            await trio.sleep(0.05)


async def test_refusals_say_what_to_do(admin: Operator) -> None:
    nowhere = free_addresses(1)[0]
    late = await admin.refused("add", f"n4={nowhere}")
    assert "n4" in late
    assert "Start the node first, with --join" in late
    assert "not a member" in await admin.refused("remove", "n9")
    assert "not another voter" in await admin.refused("transfer", "n9")
    assert "n9 is not a member" in await admin.refused("snapshot", "n9")
    assert "ID=HOST:PORT" in await admin.refused("add", "n4")
    assert "'n9' is not a member" in await admin.refused("set", "n1,n9")
    assert "not a group id" in await admin.refused("members", "--group", "xyz")
    result = await run("admin", "members", "--endpoints", nowhere)
    assert result.exit_code == 1
    assert "trioraft status" in result.output
    both = await run("node", "--id", "a", "--listen", nowhere, "--data", "/nowhere", "--join",
                     "--peers", f"a={nowhere}")  # fmt: skip
    assert "leave --peers out" in both.output
    neither = await run("node", "--id", "a", "--listen", nowhere, "--data", "/nowhere")
    assert "--join for one more" in neither.output
