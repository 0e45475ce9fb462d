"""Machines for the nodes: network namespaces of their own on one bridge, disks that can fill up.

All of it lives in the namespaces of this process (`enter`), so the host's network and mounts are
never touched and everything vanishes with the process. Needs `ip`, `unshare`, `nsenter` and root,
or a kernel that lets users make namespaces.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import trio

__all__ = ["PORT", "Machine", "Network", "enter", "mount_disk", "unmount_disk", "why_not"]

PORT = 7101

_INSIDE = "TRIORAFT_TORTURE_INSIDE"
_TOOLS = ("ip", "unshare", "nsenter", "mount")

#: Nobody has this address: what is sent there is lost without a word, as on a broken link.
_NOWHERE = "02:00:00:00:00:99"


def _unshare() -> list[str]:
    """The command that runs another one in namespaces of its own."""
    users = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", *users, "--net", "--mount", "--"]


def why_not() -> str | None:
    """What this machine lacks, if anything."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (packages iproute2, util-linux, mount)"
    script = "ip link add trprobe type veth peer name trprobe2 && mount -t tmpfs none /mnt"
    tried = subprocess.run(
        [*_unshare(), "sh", "-c", script], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if tried.returncode:
        return f"no network namespaces here: {tried.stderr.strip()[-200:]}"
    return None


def enter() -> None:
    """Go on in namespaces of our own: starts this program again, there."""
    if os.environ.get(_INSIDE):
        return
    os.environ[_INSIDE] = "1"
    os.execvp("unshare", [*_unshare(), sys.executable, *sys.argv])


async def _run(*command: str, check: bool = True) -> None:
    done = await trio.run_process(command, capture_stderr=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.decode().strip()}")


class Machine:
    """One namespace: its address, and commands to run in it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.ip = f"10.99.0.{number}"
        self.link = f"trveth{number}"  # its end on the bridge
        self._holder: trio.Process | None = None

    def prefix(self) -> list[str]:
        """What to put before a command so that it runs here."""
        assert self._holder is not None
        return ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net", "--"]

    async def create(self) -> None:
        # `cat` keeps the namespace until our end of its standard input closes, however we end.
        self._holder = await trio.lowlevel.open_process(
            ["unshare", "--net", "cat"], stdin=subprocess.PIPE, start_new_session=True
        )
        here = Path("/proc/self/ns/net").readlink()  # noqa: ASYNC240 - /proc does not wait
        there = Path(f"/proc/{self._holder.pid}/ns/net")
        while there.readlink() == here:  # noqa: ASYNC240
            await trio.sleep(0.01)
        peer = ["type", "veth", "peer", "name", "eth0", "netns", str(self._holder.pid)]
        await _run("ip", "link", "add", self.link, *peer)
        await _run("ip", "link", "set", self.link, "master", "trbridge", "up")
        for words in ("link set lo up", f"addr add {self.ip}/24 dev eth0", "link set eth0 up"):
            await _run(*self.prefix(), "ip", *words.split())

    async def cut_to(self, other: Machine) -> None:
        """Lose what this machine sends to the other one; what comes from there still arrives."""
        where = ["to", other.ip, "lladdr", _NOWHERE, "dev", "eth0", "nud", "permanent"]
        await _run(*self.prefix(), "ip", "neigh", "replace", *where)

    async def mend_to(self, other: Machine) -> None:
        """Undo `cut_to`, if it was cut."""
        where = ["to", other.ip, "dev", "eth0"]
        await _run(*self.prefix(), "ip", "neigh", "del", *where, check=False)

    async def plug(self, in_: bool) -> None:
        """Pull the network cable, or put it back."""
        await _run("ip", "link", "set", self.link, "up" if in_ else "down")


class Network:
    """So many machines on one bridge, on which this process is the machine 254."""

    def __init__(self, size: int) -> None:
        self.machines = [Machine(number) for number in range(1, size + 1)]

    async def create(self) -> None:
        """Raises RuntimeError with what `ip` said."""
        await _run("ip", "link", "set", "lo", "up")
        await _run("ip", "link", "add", "trbridge", "type", "bridge")
        await _run("ip", "addr", "add", "10.99.0.254/24", "dev", "trbridge")
        await _run("ip", "link", "set", "trbridge", "up")
        for machine in self.machines:
            await machine.create()

    async def mend(self) -> None:
        """All cables in, all directions open."""
        for machine in self.machines:
            await machine.plug(True)
            for other in self.machines:
                if other is not machine:
                    await machine.mend_to(other)


async def mount_disk(where: Path, megabytes: int) -> None:
    """A disk of that size that is there only for us."""
    where.mkdir(parents=True)  # noqa: ASYNC240 - a directory in memory
    await _run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(where))


async def unmount_disk(where: Path) -> None:
    """Undo `mount_disk`: what was on the disk is gone."""
    await _run("umount", "--lazy", str(where), check=False)
