"""Interop binaries as child processes: servers that tell their port, clients that run one case."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import trio

HERE = Path(__file__).resolve().parent
PATIENCE = 120.0


class PeerFailed(Exception):
    """A peer's process ended as it should not; holds what it said."""


def python(name: str) -> list[str]:
    """The command for a module of this package."""
    return [sys.executable, "-m", f"_grpc.{name}"]


@contextmanager
def python_server(name: str, flags: Sequence[str] = ()) -> Iterator[int]:
    """Run a server of this package for the length of the block; its port, which it prints."""
    process = subprocess.Popen(
        [*python(name), "--port=0", *flags],
        cwd=HERE.parent,
        stdout=subprocess.PIPE,
    )
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise PeerFailed(f"{name} did not start; its error output says why")
            yield int(line)
        finally:
            process.kill()


@contextmanager
def go_server(program: Path, flags: Sequence[str] = ()) -> Iterator[int]:
    """Run grpc-go's server for the length of the block. It takes a port, and prints nothing."""
    port = free_port()
    with subprocess.Popen([str(program), f"--port={port}", *flags]) as process:
        try:
            await_port(port, process)
            yield port
        finally:
            process.kill()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until the port accepts connections. Raises PeerFailed if it never does."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            with closing(socket.create_connection(("127.0.0.1", port), timeout=1)):
                return
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.02)
    raise PeerFailed(f"nobody listens on port {port}")


async def run_client(command: list[str], flags: Sequence[str]) -> str:
    """Run one case; what the client said. Raises PeerFailed unless it exits with 0."""
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(
            [*command, *flags],
            cwd=HERE.parent,
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            check=False,
        )
    output: str = done.stdout.decode(errors="replace")
    if done.returncode:
        raise PeerFailed(output[-4000:])
    return output
