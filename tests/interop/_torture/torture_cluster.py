"""A cluster of `trioraft node` processes, each on a machine of its own (`torture_net`)."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import trio
from torture_net import PORT, Machine, Network, mount_disk, unmount_disk

from trioraft.cli.demo.cluster import LocalCluster
from trioraft.cli.demo.processes import NodeProcess

__all__ = ["MachineCluster"]

DISK_MEGABYTES = 192


class MachineCluster(LocalCluster):
    """See `LocalCluster`; here a node can also be cut off, paused, and run out of disk."""

    def __init__(self, root: Path, network: Network, *, wire: str) -> None:
        super().__init__(root, size=len(network.machines), wire=wire, name="torture")
        self.network = network
        self._machines = dict(zip(self.nodes, network.machines, strict=True))
        self._joining: set[str] = set()
        for node_id, node in self.nodes.items():
            node.address = f"{self.machine(node_id).ip}:{PORT}"
            node.data = root / f"disk-{node_id}" / "data"

    def machine(self, node_id: str) -> Machine:
        """Where a node runs."""
        return self._machines[node_id]

    def command(self, node_id: str) -> list[str]:
        command = super().command(node_id)
        if node_id in self._joining:
            at = command.index("--peers")
            command[at : at + 2] = ["--join"]
        return [*self.machine(node_id).prefix(), *command]

    async def create(self) -> None:
        """Network, disks, nodes; returns when there is a leader."""
        await self.network.create()
        for node in self.nodes.values():
            await mount_disk(node.data.parent, DISK_MEGABYTES)
        await self.start()
        await self.wait_leader()

    def signal(self, node_id: str, number: signal.Signals) -> None:
        """Send a signal to a running node."""
        process = self.nodes[node_id].process
        assert process is not None
        process.send_signal(number)

    def fill_disk(self, node_id: str) -> None:
        """Leave not a byte of the node's disk free."""
        with self._ballast(self.nodes[node_id]).open("wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(bytes(64 * 1024))
            except OSError:
                return  # full: that is what is wanted

    def empty_disk(self, node_id: str) -> None:
        """Give the space back."""
        self._ballast(self.nodes[node_id]).unlink()

    @staticmethod
    def _ballast(node: NodeProcess) -> Path:
        return node.data.parent / "ballast"

    async def restart_if_ended(self, node_id: str) -> bool:
        """Whether it had ended. A node without disk may end by itself; here it may."""
        node = self.nodes[node_id]
        if node.running:
            return False
        await self.start(node_id)
        return True

    async def begin_anew(self, node_id: str) -> None:
        """Start a node that is no member (any more) without data; it waits to be added."""
        shutil.rmtree(self.nodes[node_id].data)
        self._joining.add(node_id)
        await self.start(node_id)

    async def heal(self) -> None:
        """Network mended, every process running and told to go on."""
        await self.network.mend()
        for node_id, node in self.nodes.items():
            if node.running:
                self.signal(node_id, signal.SIGCONT)
            else:
                await self.start(node_id)
        for node_id in self.nodes:
            with trio.fail_after(30):
                await self.wait_ready(node_id)

    async def aclose(self) -> None:
        """Kill what still runs, and take the disks away."""
        await super().aclose()
        with trio.CancelScope(shield=True):
            for node in self.nodes.values():
                await unmount_disk(node.data.parent)
