"""Processes of `trioraft node` on loopback: started, killed and stopped, each with its log."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import trio

from trioraft.raft.errors import TrioraftError

from .ports import free_addresses

__all__ = ["NodeProcess", "NodeProcesses", "NodeStartError"]

#: What `trioraft node` prints once it serves.
READY = b"ready: "

_POLL = 0.02  # seconds between two looks at a log file


class NodeStartError(TrioraftError):
    """A node process ended before it was ready; carries what it said."""


@dataclass(slots=True)
class NodeProcess:
    """One node: its place, and its process while there is one."""

    id: str
    address: str
    data: Path
    log: Path
    process: trio.Process | None = None
    ready_count: int = 0  # lines `ready:` in the log before this start: it is appended to
    told_to_end: bool = False
    joins: bool = False  # it waits to be added, and is none of the founders

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.returncode is None


class NodeProcesses:
    """Nodes n1 to nN (1 to N for openraft, whose ids are numbers).

    Processes are started in sessions of their own: Ctrl-C is ours to handle. Each node's standard
    input is a pipe from this process and the node stops when that closes, so no node outlives us
    even if we are killed.
    """

    def __init__(
        self,
        root: Path,
        *,
        size: int = 3,
        wire: str = "ratis",
        name: str = "demo",
        options: Sequence[str] = (),
    ) -> None:
        self.root = root
        self.name = name
        self.wire = wire
        self._options = tuple(options)
        self.nodes: dict[str, NodeProcess] = {}
        for number, address in enumerate(free_addresses(size), start=1):
            node_id = str(number) if wire == "openraft" else f"n{number}"
            self.nodes[node_id] = NodeProcess(
                id=node_id,
                address=address,
                data=root / node_id,
                log=root / f"{node_id}.log",
            )

    def plan_joiner(self, node_id: str) -> NodeProcess:
        """One more node, to be started like the others; it waits to be added to the cluster."""
        (address,) = free_addresses(1)
        log = self.root / f"{node_id}.log"
        node = NodeProcess(node_id, address, self.root / node_id, log, joins=True)
        self.nodes[node_id] = node
        return node

    @property
    def endpoints(self) -> str:
        """`host:port,...` of all nodes, running or not."""
        return ",".join(node.address for node in self.nodes.values())

    def command(self, node_id: str) -> list[str]:
        """The command line of a node."""
        node = self.nodes[node_id]
        founders = [peer for peer in self.nodes.values() if not peer.joins]
        peers = ",".join(f"{peer.id}={peer.address}" for peer in founders)
        arguments = ["node", "--id", node.id, "--listen", node.address]
        arguments += ["--join"] if node.joins else ["--peers", peers]
        arguments += ["--data", str(node.data), "--wire", self.wire, "--cluster", self.name]
        arguments += ["--stop-at-eof", *self._options]
        # -P: what lies in the current directory must not stand in for our modules.
        return [sys.executable, "-P", "-m", "trioraft", *arguments]

    async def start(self, *node_ids: str) -> None:
        """Start nodes (all if none is named) and wait until they serve.

        Raises NodeStartError with the last lines of its log if one ends instead.
        """
        chosen = node_ids or tuple(self.nodes)
        for node_id in chosen:
            await self.spawn(node_id)
        for node_id in chosen:
            await self.wait_ready(node_id)

    async def spawn(self, node_id: str) -> None:
        """Start a node without waiting for it."""
        node = self.nodes[node_id]
        assert not node.running, f"{node_id} is already running"
        self.root.mkdir(parents=True, exist_ok=True)
        node.ready_count = self._count_ready(node)
        node.told_to_end = False
        with node.log.open("ab") as log:
            node.process = await trio.lowlevel.open_process(
                self.command(node_id),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def check_alive(self) -> None:
        """Raises NodeStartError if a process ended that was not told to."""
        for node in self.nodes.values():
            status = None if node.process is None else node.process.returncode
            if status is not None and not node.told_to_end:
                raise NodeStartError(
                    f"{node.id} ended by itself with status {status}:\n{self.log_tail(node.id)}"
                )

    async def wait_ready(self, node_id: str, *, timeout: float = 30.0) -> None:
        """Wait until a node has said that it serves. Raises NodeStartError."""
        node = self.nodes[node_id]
        with trio.move_on_after(timeout):
            while self._count_ready(node) <= node.ready_count:
                if not node.running:
                    raise NodeStartError(f"{node_id} did not start:\n{self.log_tail(node_id)}")
                await trio.sleep(_POLL)
            return
        raise NodeStartError(
            f"{node_id} is not ready after {timeout:g} s:\n{self.log_tail(node_id)}"
        )

    async def kill(self, node_id: str) -> None:
        """SIGKILL: the process gets no chance to do anything. Returns when it is gone."""
        await self._end(node_id, signal.SIGKILL)

    async def stop(self, node_id: str, *, timeout: float = 15.0) -> int:
        """SIGTERM, the graceful way; returns the exit status. Raises trio.TooSlowError."""
        with trio.fail_after(timeout):
            return await self._end(node_id, signal.SIGTERM)

    async def _end(self, node_id: str, number: signal.Signals) -> int:
        node = self.nodes[node_id]
        process = node.process
        assert process is not None, f"{node_id} was never started"
        self.check_alive()
        node.told_to_end = True
        if process.returncode is None:
            process.send_signal(number)
        status = await process.wait()
        if process.stdin is not None:
            await process.stdin.aclose()
        return status

    def log_tail(self, node_id: str, lines: int = 15) -> str:
        """The end of a node's log, for error messages."""
        try:
            text = self.nodes[node_id].log.read_text(errors="replace")
        except FileNotFoundError:
            return "(no log)"
        return "\n".join(text.splitlines()[-lines:])

    async def aclose(self) -> None:
        """Kill what still runs. Not to be cancelled: it takes no time."""
        with trio.CancelScope(shield=True):
            for node in self.nodes.values():
                if node.process is not None and node.running:
                    node.told_to_end = True
                    node.process.kill()
                    await node.process.wait()

    @staticmethod
    def _count_ready(node: NodeProcess) -> int:
        try:
            lines = node.log.read_bytes().splitlines()
        except FileNotFoundError:
            return 0
        return sum(line.startswith(READY) for line in lines)
