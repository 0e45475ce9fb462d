"""`trioraft demo`: a durable cluster that loses nodes under load, and no acknowledged write."""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import trio
from rich.console import Console

from trioraft.cli.errors import explained
from trioraft.cli.table import Row, node_table
from trioraft.client import RetryPolicy, open_etcd

from .cluster import LocalCluster, open_cluster
from .display import Display, open_display
from .failures import break_nodes
from .load import Load
from .source import Source, open_source
from .verify import Finding, verify

__all__ = ["demo"]

#: Seconds between two looks at the load's progress.
_REFRESH = 0.1


@click.command()
@click.option(
    "--input",
    "input_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Text, CSV/TSV or JSON-lines file to write; by default one that ships with Python.",
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep logs and data here; by default they go to a temporary directory and are deleted.",
)
@click.option(
    "--wire",
    type=click.Choice(["ratis", "openraft"]),
    default="ratis",
    show_default=True,
    help="Protocol between the nodes.",
)
def demo(input_path: Path | None, data: Path | None, wire: str) -> None:
    """Kill nodes of a cluster under load and show that nothing acknowledged is lost.

    Starts three durable nodes on loopback, writes FILE line by line through the etcd API, kills the
    leader with SIGKILL mid-load, restarts it, does the same to a follower, then reads
    everything back from every node. Exit status 0 only if nothing was lost.
    """
    with explained():
        source = open_source(input_path)
        with _directory(data) as root:
            lost = trio.run(_main, source, root, wire)
    sys.exit(1 if lost else 0)


@contextmanager
def _directory(data: Path | None) -> Iterator[Path]:
    """Where the nodes live: the user's directory, or a temporary one."""
    if data is not None:
        if data.exists() and any(data.iterdir()):
            raise click.ClickException(f"{data}: not empty. Choose a new directory for --data.")
        yield data
        return
    with tempfile.TemporaryDirectory(prefix="trioraft-demo-") as name:
        yield Path(name)


async def _main(source: Source, root: Path, wire: str) -> int:
    """Run the demo; returns how many acknowledged writes were lost. SIGTERM ends it like Ctrl-C."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_at_sigterm)
        lost = await _run(source, root, wire)
        nursery.cancel_scope.cancel()
    return lost


async def _stop_at_sigterm() -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            raise KeyboardInterrupt


async def _run(source: Source, root: Path, wire: str) -> int:
    console = Console()
    with open_display(console) as display:
        display.say(f"{source.count} records from {source.path}")
        async with open_cluster(root, wire=wire) as cluster:
            leader = await cluster.wait_leader()
            display.say(f"three nodes run ({cluster.endpoints}, wire {wire}); {leader} leads")
            load = await _load(cluster, source, display)
            findings = await verify(
                cluster,
                source,
                load.acknowledged,
                lambda where, done: display.advance(where, done, source.count),
            )
            for finding in findings:
                display.say(_describe(finding))
            rows = [
                Row(node.address, await cluster.status(node.id)) for node in cluster.nodes.values()
            ]
    console.print(node_table(rows))
    lost = max(finding.lost for finding in findings)
    print(f"acknowledged {load.acknowledged.count} writes, lost {lost}", flush=True)
    return lost


async def _load(cluster: LocalCluster, source: Source, display: Display) -> Load:
    """Write everything while nodes die; show how far it is."""
    policy = RetryPolicy(attempt_timeout=2.0, follow_interval=1.0)
    async with open_etcd(cluster.endpoints, policy=policy) as client:
        load = Load(client, source)
        started = trio.current_time()
        async with trio.open_nursery() as watch:
            watch.start_soon(_watch, load, display)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(load.run)
                nursery.start_soon(break_nodes, cluster, load, display.say)
            watch.cancel_scope.cancel()
        seconds = trio.current_time() - started
    display.say(f"wrote and acknowledged {load.acknowledged.count} records in {seconds:.1f} s")
    return load


async def _watch(load: Load, display: Display) -> None:
    while True:
        display.advance("writing", load.acknowledged.count, load.total)
        await trio.sleep(_REFRESH)


def _describe(finding: Finding) -> str:
    return (
        f"{finding.where} has {finding.found} of them"
        + (f", MISSING {finding.missing}" if finding.missing else "")
        + (f", DIFFERENT {finding.different}" if finding.different else "")
    )
