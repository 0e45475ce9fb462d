"""Socket activation: sockets that systemd has bound before the service was started.

The service needs no right to bind them, loses no connection while it restarts, and may be started
by the first one. Source: sd_listen_fds(3).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

__all__ = ["systemd_sockets"]

_FIRST = 3


def systemd_sockets(
    name: str | None = None, *, environment: Mapping[str, str] | None = None
) -> list[socket.socket]:
    """The listening sockets that systemd has handed to this process; empty if it has none.

    Args:
        name: Only those with this `FileDescriptorName=`.
        environment: In place of `os.environ`: LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES.

    They are non-blocking and not inherited by programs that are run later. Call it once per socket:
    each call gives an object of its own for the same file descriptor.

    Raises:
        ValueError: The variables make no sense, or one of the descriptors is not a listening stream
            socket (`Accept=no` and `ListenStream=` are what a `.socket` unit needs).
    """
    environment = os.environ if environment is None else environment
    pid, count = environment.get("LISTEN_PID"), environment.get("LISTEN_FDS")
    if pid is None or count is None:
        return []
    if not (pid.isdecimal() and count.isdecimal()):
        raise ValueError(f"LISTEN_PID={pid!r} and LISTEN_FDS={count!r} are not numbers")
    if int(pid) != os.getpid():
        return []  # meant for the process that has started us
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    found = []
    for index in range(int(count)):
        own_name = names[index] if index < len(names) else ""
        if name is None or own_name == name:
            found.append(_socket(_FIRST + index, own_name))
    return found


def _socket(fd: int, name: str) -> socket.socket:
    what = f"file descriptor {fd} ({name or 'without a name'}) from systemd"
    try:
        os.set_inheritable(fd, False)
        sock = socket.socket(fileno=fd)
    except OSError as error:
        raise ValueError(f"{what} is not a socket: {error}") from error
    listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if sock.type != socket.SOCK_STREAM or not listening:
        sock.detach()  # not ours to close
        raise ValueError(f"{what} is not a listening stream socket: use ListenStream=, Accept=no")
    sock.setblocking(False)
    return sock
