"""Real faults on real processes: `make torture`, or python tests/interop/_torture [--seconds N].

Three `trioraft node` processes, each in a network namespace of its own and on a disk of its own,
under load while cables are pulled, directions lost, processes killed and stopped, disks filled
and members replaced. At the end everything is healed, and

- what the clients were told is judged: linearizable or not (trioraft.testing.linearizability);
- every replica must hold the same, and everything that was acknowledged.

Exit status: 0 all well, 1 a promise was broken, 2 this machine cannot do it (it says why).
"""

from __future__ import annotations

import hashlib
import random
import sys
import tempfile
from pathlib import Path

import click
import torture_net
import trio
from rich.console import Console
from torture_cluster import MachineCluster
from torture_faults import Faults
from torture_load import PREFIX, Load
from torture_report import fault_table, write_picture

from trioraft.client import RetryPolicy, open_etcd
from trioraft.client.etcd import prefix_range
from trioraft.testing.linearizability import KeyValue, Report, check

POLICY = RetryPolicy(timeout=60.0, attempt_timeout=2.0, follow_interval=0.5)


async def read_everything(cluster: MachineCluster, load: Load) -> None:
    """Once more each key, by a linearizable read, as the last operations of the history."""
    keys = dict.fromkeys(operation.key for operation in load.history.operations)
    calls = [load.history.begin("the end", "get", key=key) for key in keys]
    found: dict[bytes, bytes] = {}
    start, end = prefix_range(PREFIX)
    async with open_etcd(cluster.endpoints, policy=POLICY) as client:
        async for page in client.pages(start, range_end=end):
            found.update((pair.key, pair.value) for pair in page)
    for call in calls:
        call.ok(found.get(call.operation.key))


async def digests(cluster: MachineCluster) -> dict[str, str]:
    """A digest of all that each replica holds, revisions included."""
    leader = await cluster.wait_leader()
    await cluster.wait_applied(await cluster.commit_index(leader))
    found = {}
    start, end = prefix_range(PREFIX)
    for node in cluster.nodes.values():
        digest = hashlib.sha256()
        async with open_etcd(node.address, policy=POLICY) as client:
            async for page in client.pages(start, range_end=end, serializable=True):
                for pair in page:
                    digest.update(pair.SerializeToString(deterministic=True))
        found[node.id] = digest.hexdigest()
    return found


async def torture(
    root: Path, out: Path, seconds: float, clients: int, wire: str, seed: int, console: Console
) -> bool:
    """The whole of it; whether every promise was kept."""
    cluster = MachineCluster(root, torture_net.Network(3), wire=wire)
    rng = random.Random(seed)
    try:
        await cluster.create()
        load = Load([node.address for node in cluster.nodes.values()], clients, seed)
        start = trio.current_time()

        def tell(event: str) -> None:
            passed = trio.current_time() - start
            console.print(f"{passed:6.1f} s  {len(load.answered):8,} answered  {event}")

        faults = Faults(cluster, rng, tell)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run)
            await faults.run(seconds)
            await cluster.wait_leader(timeout=60)
            await trio.sleep(1.0)
            nursery.cancel_scope.cancel()
        end = trio.current_time()
        await read_everything(cluster, load)
        agreed = await digests(cluster)
    except BaseException:
        for node_id in cluster.nodes:
            console.print(f"--- the end of {node_id}'s log\n{cluster.log_tail(node_id, 20)}")
        raise
    finally:
        await cluster.aclose()
    fault_table(faults.done, load.answered, console)
    write_picture(out / "torture.svg", load.answered, faults.done, start, end)
    console.print(
        f"{len(load.answered):,} calls answered, {len(load.failed):,} not, in {end - start:.0f} s;"
        f" the picture is {out / 'torture.svg'}"
    )
    return _verdict(check(load.history.operations, KeyValue()), agreed, out, console)


def _verdict(report: Report, agreed: dict[str, str], out: Path, console: Console) -> bool:
    console.print(report.text(), markup=False)
    for violation in report.violations[:1]:
        page = out / "violation.html"
        page.write_text(violation.html(), encoding="utf-8")
        console.print(f"to look at: {page}")
    same = len(frozenset(agreed.values())) == 1
    console.print("all replicas are equal" if same else f"the replicas differ: {agreed}")
    return report.ok and same


@click.command()
@click.option("--seconds", default=600.0, show_default=True, help="Time under fire.")
@click.option("--clients", default=12, show_default=True)
@click.option("--wire", type=click.Choice(["ratis", "openraft"]), default="ratis")
@click.option("--seed", default=1, show_default=True, help="Another sequence of faults.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the picture goes; by default a new directory among the temporary ones.",
)
def main(seconds: float, clients: int, wire: str, seed: int, out: Path | None) -> None:
    """Three real nodes under real faults; see the top of this file."""
    console = Console(width=110)
    reason = torture_net.why_not()
    if reason is not None:
        console.print(f"skipped: {reason}")
        sys.exit(2)
    torture_net.enter()
    out = out or Path(tempfile.mkdtemp(prefix="trioraft-torture-"))
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="trioraft-torture-nodes-") as root:
        kept = trio.run(torture, Path(root), out, seconds, clients, wire, seed, console)
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
