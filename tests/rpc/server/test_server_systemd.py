"""Socket activation, with a process of its own: descriptors 3 and up are whole-process matters."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from echo_grpc import EchoStub
from echo_pb2 import EchoRequest

from trioraft.rpc import open_channel
from trioraft.rpc.server.listening.systemd import systemd_sockets

HERE = Path(__file__).parent

# What systemd does: the descriptors from 3 on, and variables that name the process that it starts.
ACTIVATE = """
import fcntl, os, sys
fds = [int(fd) for fd in sys.argv[1].split(",")]
high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in fds]
for index, fd in enumerate(high):
    os.dup2(fd, 3 + index, inheritable=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=sys.argv[2])
os.execv(sys.executable, [sys.executable, *sys.argv[3:]])
"""

SERVER = """
import sys, os
sys.path[:0] = {paths!r}
import trio
from echo_service import Echo
from trioraft.rpc import open_server

async def main():
    async with open_server([Echo()], listen={listen!r}) as server:
        print(len(server.addresses), os.get_inheritable(3), os.get_blocking(3), flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        await server.stop(grace=5)

trio.run(main)
"""


def activated(sockets: Sequence[socket.socket], names: str, code: str) -> subprocess.Popen[str]:
    fds = [sock.fileno() for sock in sockets]
    return subprocess.Popen(
        [sys.executable, "-c", ACTIVATE, ",".join(map(str, fds)), names, "-c", code],
        pass_fds=fds,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def server(listen: object) -> str:
    paths = [str(HERE.parent), str(HERE.parent / "_gen")]
    return SERVER.format(paths=paths, listen=listen)


@pytest.mark.parametrize("listen", ["systemd", ["systemd:web", "systemd:local"]])
async def test_activated(listen: object, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        path = str(tmp_path / "a.sock")
        unix.bind(path)
        unix.listen()
        with activated([tcp, unix], "web:local", server(listen)) as process:
            # Connections made before the service runs wait for it.
            async with (
                open_channel(f"127.0.0.1:{tcp.getsockname()[1]}") as one,
                open_channel(f"unix:{path}") as two,
            ):
                for channel in (one, two):
                    reply = await EchoStub(channel).Unary(EchoRequest(payload=b"x"), timeout=20)
                    assert reply.payload == b"x"
            output, errors = process.communicate("")
            assert (output, errors) == ("2 False False\n", "")


@pytest.mark.parametrize(
    ("names", "listen", "message"),
    [
        ("web", "systemd:other", "systemd has handed no sockets named other to this process"),
        ("", "systemd:web", "systemd has handed no sockets named web to this process"),
    ],
)
def test_what_is_not_there(names: str, listen: str, message: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp:
        process = activated([tcp], names, server(listen))
        output, errors = process.communicate("", timeout=30)
    assert output == ""
    assert message in errors


def test_what_does_not_listen_is_refused() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", 0))
        process = activated([datagrams], "", server("systemd"))
        output, errors = process.communicate("", timeout=30)
    assert output == ""
    assert "file descriptor 3 (without a name) from systemd is not a listening stream" in errors


def test_what_is_not_for_us() -> None:
    assert systemd_sockets(environment={}) == []
    parent = {"LISTEN_PID": str(os.getppid()), "LISTEN_FDS": "1"}
    assert systemd_sockets(environment=parent) == []
    with pytest.raises(ValueError, match="not numbers"):
        systemd_sockets(environment={"LISTEN_PID": "x", "LISTEN_FDS": "1"})
