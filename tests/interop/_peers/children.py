"""Starting foreign peers, and ours, as child processes that speak lines of JSON."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from .model import Call, Outcome, dumps, fields_of, loads, outcome_from

HERE = Path(__file__).resolve().parent
CALLS_TIMEOUT = 30.0


@dataclass(frozen=True)
class ServerChild:
    """A server in a process of its own, and where it listens."""

    process: subprocess.Popen[bytes]
    target: str
    unix_target: str
    tls_target: str | None

    def stop(self) -> None:
        """Ask it to stop gracefully."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def kill(self) -> None:
        """SIGKILL, as when the machine runs out of memory."""
        self.process.kill()
        self.process.wait()


class ClientChild:
    """A client in a process of its own."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def caller(self, target: str, directory: Path | None = None) -> ClientChildCaller:
        """A caller on one channel of its own; TLS if a directory with a certificate is given."""
        return ClientChildCaller(self, target, directory)

    def ask(self, command: dict[str, Any]) -> Any:
        """Send one command and wait for its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(dumps(command).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the peer ended; its error output says why")
        return loads(line)

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()


class ClientChildCaller:
    """Calls made by a child process; a `Caller`."""

    def __init__(self, client: ClientChild, target: str, directory: Path | None) -> None:
        self._client = client
        self._target = target
        self._directory = None if directory is None else str(directory)

    async def run(self, *calls: Call) -> list[Outcome]:
        """Make the calls at the same time, on one connection."""
        command = {
            "target": self._target,
            "directory": self._directory,
            "calls": [fields_of(call) for call in calls],
        }
        with trio.fail_after(CALLS_TIMEOUT):
            # The pipe is read in a thread: the child outlives one test's event loop.
            answer = await trio.to_thread.run_sync(
                self._client.ask, command, abandon_on_cancel=True
            )
        return [outcome_from(fields) for fields in answer]


@contextmanager
def client_child(name: str, *options: str) -> Iterator[ClientChild]:
    """Run `_peers.<name>_client` for the length of the block."""
    with _python(f"_peers.{name}_client", *options) as process:
        yield ClientChild(process)


@contextmanager
def server_child(name: str, directory: Path, *options: str) -> Iterator[ServerChild]:
    """Run `_peers.<name>_server` for the length of the block, its socket in `directory`."""
    with _python(f"_peers.{name}_server", str(directory), *options) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the {name} server did not start; its error output says why")
        addresses = loads(line)
        tls_port = addresses.get("tls_port")
        yield ServerChild(
            process,
            target=f"127.0.0.1:{addresses['port']}",
            unix_target=f"unix:{addresses['unix']}",
            tls_target=None if tls_port is None else f"127.0.0.1:{tls_port}",
        )


@contextmanager
def _python(module: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=HERE.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
