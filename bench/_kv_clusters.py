"""Three-node clusters for `kv.py`: trioraft's and etcd's, as processes with durable data."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from trioraft._proto.etcd.rpc_grpc import MaintenanceStub
from trioraft._proto.etcd.rpc_pb2 import StatusRequest
from trioraft.cli.demo.cluster import LocalCluster, open_cluster
from trioraft.cli.demo.ports import free_addresses
from trioraft.rpc import GRPCError, open_channel

GET_ETCD = (
    "etcd is not installed, so there is nobody to compare with: "
    "`apt install etcd-server` (or `etcd` on Debian 12), or a release of github.com/etcd-io/etcd."
)


@dataclass(frozen=True)
class Running:
    """A cluster that serves: its leader's address and the processes of all nodes."""

    leader: str
    pids: tuple[int, ...]

    def cpu_seconds(self) -> float:
        """CPU time of all nodes so far, user and system."""
        ticks = 0
        for pid in self.pids:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def peak_memory(self) -> float:
        """Sum of the nodes' largest resident sizes so far, MiB."""
        return self._memory("VmHWM")

    def memory(self) -> float:
        """Sum of the nodes' resident sizes now, MiB."""
        return self._memory("VmRSS")

    def _memory(self, name: str) -> float:
        total = 0
        for pid in self.pids:
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith(name):
                    total += int(line.split()[1])
        return total / 1024


@asynccontextmanager
async def trioraft_cluster(root: Path, wire: str) -> AsyncIterator[Running]:
    """Three `trioraft node` processes."""
    async with open_cluster(root, wire=wire) as cluster:
        leader = await cluster.wait_leader()
        yield Running(cluster.nodes[leader].address, _pids(cluster))


def _pids(cluster: LocalCluster) -> tuple[int, ...]:
    return tuple(node.process.pid for node in cluster.nodes.values() if node.process is not None)


def has_etcd() -> bool:
    """Whether there is an etcd to compare with."""
    return shutil.which("etcd") is not None


@asynccontextmanager
async def etcd_cluster(root: Path) -> AsyncIterator[Running]:
    """Three etcd processes with etcd's defaults."""
    root.mkdir(parents=True)  # noqa: ASYNC240 - nothing else runs
    addresses = free_addresses(6)
    peers, clients = addresses[:3], addresses[3:]
    initial = ",".join(f"e{number}=http://{peer}" for number, peer in enumerate(peers))
    processes: list[trio.Process] = []
    try:
        for number, (peer, client) in enumerate(zip(peers, clients, strict=True)):
            command = ["etcd", "--name", f"e{number}", "--data-dir", str(root / f"e{number}")]
            command += ["--listen-peer-urls", f"http://{peer}"]
            command += ["--initial-advertise-peer-urls", f"http://{peer}"]
            command += ["--listen-client-urls", f"http://{client}"]
            command += ["--advertise-client-urls", f"http://{client}"]
            command += ["--initial-cluster", initial, "--initial-cluster-state", "new"]
            with (root / f"e{number}.log").open("wb") as log:
                processes.append(await trio.lowlevel.open_process(command, stdout=log, stderr=log))
        with trio.fail_after(30):
            leader = await _etcd_leader(clients)
        yield Running(leader, tuple(process.pid for process in processes))
    finally:
        with trio.CancelScope(shield=True):
            for process in processes:
                process.kill()
                await process.wait()


async def _etcd_leader(clients: list[str]) -> str:
    while True:
        for client in clients:
            async with open_channel(client) as channel:
                try:
                    status = await MaintenanceStub(channel).Status(StatusRequest(), timeout=1)
                except GRPCError:
                    continue
            if status.leader and status.leader == status.header.member_id:
                return client
        await trio.sleep(0.1)
