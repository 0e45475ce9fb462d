"""The demo, whole: it says that nothing was lost, and cleans up even when interrupted."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import trio

from trioraft.cli.demo.load import Acknowledged
from trioraft.cli.demo.source import Record, open_source
from trioraft.cli.demo.verify import compare
from trioraft.client import EtcdClient


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "trioraft", "demo", *arguments]


def node_processes(root: Path) -> list[str]:
    """Command lines of processes that mention `root`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if str(root) in line and " node " in line:
                found.append(line)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("wire", ["ratis", "openraft"])
async def test_the_demo_loses_nothing(tmp_path: Path, wire: str) -> None:
    source = tmp_path / "people.csv"
    source.write_text("name,age\n" + "".join(f"P{row},{row}\n" for row in range(800)))
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with trio.fail_after(60):
        result = await trio.run_process(
            command("--input", str(source), "--wire", wire),
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env={**os.environ, "TMPDIR": str(temporary)},
        )
    output = result.stdout.decode()
    assert result.returncode == 0, output + result.stderr.decode()
    assert output.splitlines()[-1] == "acknowledged 800 writes, lost 0"
    for expected in ("the leader, with SIGKILL", "a follower, with SIGKILL", "on disk"):
        assert expected in output
    assert len(re.findall(r"has 800 of them", output)) == 4
    assert not os.listdir(temporary)
    assert not node_processes(temporary)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
async def test_an_interrupted_demo_cleans_up(tmp_path: Path, number: signal.Signals) -> None:
    async with trio.open_nursery() as nursery:
        process = await nursery.start(
            partial(
                trio.run_process,
                command(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
                env={**os.environ, "TMPDIR": str(tmp_path)},
                start_new_session=True,
                # A shell that runs these tests in the background has SIGINT ignored.
                preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
            )
        )
        with trio.fail_after(20):
            while len(node_processes(tmp_path)) < 3:
                await trio.sleep(0.05)
        process.send_signal(number)
        with trio.fail_after(10):
            assert await process.wait() != 0
    assert not node_processes(tmp_path)
    assert not os.listdir(tmp_path)


async def test_data_can_be_kept_but_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    result = await trio.run_process(
        command("--data", str(tmp_path)), capture_stderr=True, check=False
    )
    assert result.returncode == 1
    assert b"not empty. Choose a new directory for --data." in result.stderr


class Replica(EtcdClient):
    """A node that answers a read-back with the given pairs."""

    def __init__(self, pairs: dict[bytes, bytes]) -> None:
        self._pairs = pairs

    async def pages(self, key, **options):  # type: ignore[no-untyped-def, override]
        from trioraft._proto.etcd.kv_pb2 import KeyValue

        yield [KeyValue(key=key, value=value) for key, value in sorted(self._pairs.items())]


async def test_a_loss_would_be_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one\ntwo\nthree\n")
    source = open_source(path)
    acknowledged = Acknowledged(source.count)
    records: list[Record] = list(source.records())
    for record in records:
        acknowledged.add(record)
    pairs = {records[0].key: b"one", records[2].key: b"changed"}
    finding = await compare(
        Replica(pairs), source, acknowledged, lambda where, done: None, where="x", serializable=True
    )
    assert (finding.found, finding.missing, finding.different, finding.lost) == (2, 1, 1, 2)
