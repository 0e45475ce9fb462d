"""`trioraft node`, `kv` and `status` as processes, as users and supervisors run them."""

from __future__ import annotations

import json
import resource
import signal
import socket
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result

from trioraft.cli import main
from trioraft.cli.demo.cluster import LocalCluster, open_cluster
from trioraft.cli.demo.ports import free_addresses
from trioraft.cli.demo.processes import NodeStartError

#: Elections that do not make a test wait; the machine may be busy, so not faster.
FAST = ("--election-timeout", "500", "--heartbeat", "100")


async def run(*arguments: str, input: bytes = b"") -> Result:
    """Run a client command to its end, in a thread: it has a Trio of its own."""
    invoke = partial(CliRunner(env={"TRIORAFT_ENDPOINTS": None}).invoke, main, arguments, input)
    with trio.fail_after(30):
        return await trio.to_thread.run_sync(invoke)


async def refused(cluster: LocalCluster, *more: str, node_id: str = "n1") -> str:
    """The error of a node that must not start."""
    with trio.fail_after(30):
        result = await trio.run_process(
            [*cluster.command(node_id), *more],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    errors = result.stderr.decode()
    assert result.returncode == 1, errors
    assert "Traceback" not in errors
    assert errors.startswith("Error: ")
    return errors


@pytest.fixture
async def single(tmp_path: Path) -> AsyncIterator[LocalCluster]:
    async with open_cluster(
        tmp_path / "c",
        size=1,
        options=[
            "--drpc-socket",
            str(tmp_path / "drpc.sock"),
            "--uds",
            str(tmp_path / "grpc.sock"),
        ],
    ) as cluster:
        yield cluster


async def test_kv(single: LocalCluster) -> None:
    where = ("--endpoints", single.endpoints)
    assert (await run("kv", "put", "a/1", "one", *where)).stdout_bytes == b"OK\n"
    assert (await run("kv", "put", "a/2", *where, input=b"\xff\x00")).stdout_bytes == b"OK\n"
    assert (await run("kv", "get", "a/1", *where)).stdout_bytes == b"one\n"
    result = await run("kv", "get", "a/", "--prefix", *where)
    assert result.stdout_bytes == b"a/1\tone\na/2\t\xff\x00\n"
    result = await run("kv", "get", "a/", "--prefix", "--json", "--limit", "1", "--stale", *where)
    reply = json.loads(result.stdout_bytes)
    assert reply["count"] == 2
    assert [(pair["key"], pair["value"]) for pair in reply["kvs"]] == [("a/1", "one")]
    result = await run("kv", "get", "a/2", "--json", *where)
    assert json.loads(result.stdout_bytes)["kvs"][0]["value"] == {"base64": "/wA="}
    revision = reply["kvs"][0]["mod_revision"]
    await run("kv", "put", "a/1", "uno", *where)
    result = await run("kv", "get", "a/1", "--revision", str(revision), *where)
    assert result.stdout_bytes == b"one\n"
    everything = await run("kv", "get", "", "--prefix", *where)
    assert everything.stdout_bytes == b"a/1\tuno\na/2\t\xff\x00\n"
    first = await run("kv", "get", "", "--prefix", "--limit", "1", *where)
    assert first.stdout_bytes == b"a/1\tuno\n"
    assert (await run("kv", "get", "b", "--prefix", *where)).stdout_bytes == b""
    assert (await run("kv", "del", "a/", "--prefix", *where)).stdout_bytes == b"2\n"
    result = await run("kv", "get", "a/1", *where)
    assert result.exit_code == 1
    assert b"no key 'a/1'" in result.stderr_bytes
    result = await run("kv", "put", "", "x", *where)
    assert result.exit_code == 1
    assert result.stderr_bytes == b"Error: etcdserver: key is not provided (INVALID_ARGUMENT)\n"


async def test_status(single: LocalCluster, tmp_path: Path) -> None:
    result = await run("status", "--endpoints", single.endpoints)
    assert result.exit_code == 0
    assert b"leader" in result.stdout_bytes
    for where in (
        ("--endpoints", single.endpoints),
        ("--endpoints", f"unix:{tmp_path / 'grpc.sock'}"),
        ("--socket", str(tmp_path / "drpc.sock")),
    ):
        result = await run("status", "--json", *where)
        [row] = json.loads(result.stdout_bytes)
        assert row["node_id"] == "n1"
        assert row["groups"][0]["role"] == "leader"
        assert row["groups"][0]["bytes_on_disk"] > 0
        assert isinstance(row["groups"][0]["commit_index"], int)
    [free] = free_addresses(1)
    result = await run("status", "--endpoints", f"{single.endpoints},{free}")
    assert result.exit_code == 1
    assert b"unreachable" in result.stdout_bytes


async def test_status_asks_the_members_that_were_not_named(tmp_path: Path) -> None:
    async with open_cluster(tmp_path, size=3, options=FAST) as cluster:
        result = await run("status", "--json", "--endpoints", cluster.nodes["n2"].address)
        rows = json.loads(result.stdout_bytes)
        assert [row.get("node_id", row) for row in rows] == ["n2", "n1", "n3"]


async def test_nobody_there(tmp_path: Path) -> None:
    [free] = free_addresses(1)
    result = await run("status", "--endpoints", free)
    assert result.exit_code == 1
    assert b"no node answers. Check --endpoints" in result.stderr_bytes
    result = await run("kv", "get", "a", "--endpoints", free, "--timeout", "0.3")
    assert result.exit_code == 1
    assert b"no endpoint could answer within 0.3 s" in result.stderr_bytes
    result = await run("kv", "get", "a", "--endpoints", "nonsense")
    assert b"'nonsense' is not host:port" in result.stderr_bytes
    result = await run("status", "--socket", str(tmp_path / "none"))
    assert result.exit_code == 1
    assert b"no dRPC server answers" in result.stderr_bytes


async def test_a_port_in_use(tmp_path: Path) -> None:
    cluster = LocalCluster(tmp_path, size=1)
    host, port = cluster.nodes["n1"].address.split(":")
    with socket.create_server((host, int(port))):
        errors = await refused(cluster)
    assert f"cannot listen on {host}:{port}" in errors
    assert "another process has that port" in errors


async def test_a_data_directory_of_another_node_or_cluster(tmp_path: Path) -> None:
    async with open_cluster(tmp_path, size=1, options=FAST) as cluster:
        # In use by a running node.
        other = LocalCluster(tmp_path, size=1)
        assert str(tmp_path / "n1") in await refused(other)
        await cluster.stop("n1")
    data = ("--data", str(tmp_path / "n1"))
    cluster = LocalCluster(tmp_path, size=2)
    assert "belongs to node 'n1'" in await refused(cluster, *data, node_id="n2")
    assert "cluster 'demo', not" in await refused(cluster, *data, "--cluster", "other")


async def test_a_directory_that_is_not_ours(tmp_path: Path) -> None:
    cluster = LocalCluster(tmp_path / "c", size=1)
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.tex").write_text("years of work")
    errors = await refused(cluster, "--data", str(precious))
    assert "not a trioraft data directory" in errors
    assert [path.name for path in precious.iterdir()] == ["thesis.tex"]


async def test_garbage_in_our_own_directory(tmp_path: Path) -> None:
    async with open_cluster(tmp_path, size=1, options=FAST) as cluster:
        await cluster.stop("n1")
        identity = tmp_path / "n1" / "node.json"
        identity.write_bytes(b"\x00garbage")
        assert "node.json" in await refused(cluster)


async def test_a_damaged_log_is_named_and_not_guessed_around(tmp_path: Path) -> None:
    async with open_cluster(tmp_path, size=1, options=FAST) as cluster:
        for number in range(3):
            await run("kv", "put", f"key{number}", "v" * 200, "--endpoints", cluster.endpoints)
        await cluster.kill("n1")
        [segment] = (tmp_path / "n1").glob("groups/*/*.log")
        damaged = bytearray(segment.read_bytes())
        position = damaged.index(b"key0")
        damaged[position] ^= 0xFF
        segment.write_bytes(damaged)
        errors = await refused(cluster)
        assert segment.name in errors
        assert "corrupt at offset" in errors
        assert segment.read_bytes() == bytes(damaged)


async def test_a_disk_that_refuses_stops_the_node_with_the_reason(tmp_path: Path) -> None:
    async with open_cluster(tmp_path, size=1, options=FAST) as cluster:
        process = cluster.nodes["n1"].process
        assert process is not None
        cluster.nodes["n1"].told_to_end = True
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (4096, 4096))
        where = ("--endpoints", cluster.endpoints, "--timeout", "5")
        result = await run("kv", "put", "key", "v" * 10_000, *where)
        assert result.exit_code == 1
        with trio.fail_after(10):
            assert await process.wait() == 1
        last = cluster.log_tail("n1", 1)
        assert last.startswith("Error: the group has stopped on node n1: cannot write")
        assert "File too large" in last


async def test_a_drpc_path_that_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    cluster = LocalCluster(tmp_path / "c", size=1)
    assert "is not a socket" in await refused(cluster, "--drpc-socket", str(path))


async def test_openraft_wants_numbers(tmp_path: Path) -> None:
    cluster = LocalCluster(tmp_path, size=1)
    assert "numbers" in await refused(cluster, "--wire", "openraft")


async def test_the_node_stops_with_whoever_started_it(tmp_path: Path) -> None:
    async with open_cluster(tmp_path, size=1, options=FAST) as cluster:
        process = cluster.nodes["n1"].process
        assert process is not None
        assert process.stdin is not None
        cluster.nodes["n1"].told_to_end = True
        await process.stdin.aclose()
        with trio.fail_after(10):
            assert await process.wait() == 0


async def test_ctrl_c_is_a_graceful_stop(single: LocalCluster) -> None:
    process = single.nodes["n1"].process
    assert process is not None
    single.nodes["n1"].told_to_end = True
    process.send_signal(signal.SIGINT)
    with trio.fail_after(10):
        assert await process.wait() == 0
    assert "Traceback" not in single.log_tail("n1")


async def test_a_node_that_ends_by_itself_is_noticed(tmp_path: Path) -> None:
    cluster = LocalCluster(tmp_path, size=1, options=["--election-timeout", "1"])
    with pytest.raises(NodeStartError, match="Invalid value for '--election-timeout'"):
        await cluster.start()


async def test_heartbeats_must_be_faster_than_elections(tmp_path: Path) -> None:
    cluster = LocalCluster(tmp_path, size=1)
    errors = await refused(cluster, "--election-timeout", "100", "--heartbeat", "100")
    assert "heartbeat_interval=0.1: must be above 0 and below" in errors
