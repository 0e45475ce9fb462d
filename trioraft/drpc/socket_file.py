"""The socket file: who may create it, who may delete it, and with which permissions.

DAOS's Go server probes an existing file by connecting to it. This does the same, with two of
its traps closed: only a socket is ever deleted (connecting to a regular file is refused as
well), and the permissions are right from the first moment (fchmod before bind).
Two servers that start at the same instant can still race between probe and bind; whoever may
start twice holds a lock of its own (a node: its data directory's).
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import SocketFileError

__all__ = ["DEFAULT_MODE", "MAX_PATH", "bound_socket"]

#: Only the owner may connect: whoever can connect can call everything.
DEFAULT_MODE = 0o600

#: Bytes in a socket's path (sockaddr_un.sun_path is 108 with its NUL).
MAX_PATH = 107


@contextmanager
def bound_socket(
    path: str | os.PathLike[str],
    *,
    kind: socket.SocketKind = socket.SOCK_STREAM,
    mode: int = DEFAULT_MODE,
    backlog: int = 128,
) -> Iterator[socket.socket]:
    """A listening Unix socket at `path`, unlinked again when the block is left.

    A stale file (a socket that nobody serves) is replaced. Blocking is negligible: a local
    connect and a few system calls.

    Raises:
        SocketFileError: the path is too long, its directory is missing, something else than a
            socket is there, or a server is alive on it.
    """
    where = Path(path).absolute()
    if len(os.fsencode(where)) > MAX_PATH:
        raise SocketFileError(
            f"{where}: longer than {MAX_PATH} bytes, the most a Unix socket's path can have. "
            "Choose a shorter one."
        )
    _make_way(where, kind)
    sock = socket.socket(socket.AF_UNIX, kind)
    try:
        os.fchmod(sock.fileno(), mode)
        try:
            sock.bind(os.fspath(where))
        except OSError as error:
            raise SocketFileError(_describe(where, error)) from error
        created = where.lstat()
        try:
            sock.listen(backlog)
            yield sock
        finally:
            _unlink_own(where, created)
    finally:
        sock.close()


def _make_way(where: Path, kind: socket.SocketKind) -> None:
    """Remove a stale socket, refuse everything else that exists."""
    try:
        status = where.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise SocketFileError(_describe(where, error)) from error
    if not stat.S_ISSOCK(status.st_mode):
        raise SocketFileError(
            f"{where}: exists and is not a socket. Choose another path, or remove it yourself."
        )
    with socket.socket(socket.AF_UNIX, kind) as probe:
        # A server with a full backlog must not hang us; EAGAIN is as good a sign of life.
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(where))
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            _unlink_own(where, status)
            return
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno == errno.EPROTOTYPE:
                raise SocketFileError(
                    f"{where}: a server of another socket type is using it. "
                    "Stop that server, or choose another path."
                ) from error
            raise SocketFileError(_describe(where, error)) from error
    raise SocketFileError(
        f"{where}: the configured socket file is already in use by a running server. "
        "Stop that server, or choose another path."
    )


def _unlink_own(where: Path, created: os.stat_result) -> None:
    """Delete the file if it is still the one that was seen; somebody else's stays."""
    with suppress(FileNotFoundError):
        now = where.lstat()
        if (now.st_dev, now.st_ino) == (created.st_dev, created.st_ino):
            where.unlink()


def _describe(where: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return f"{where}: its directory does not exist. Create it, or choose another path."
    if isinstance(error, PermissionError):
        return f"{where}: permission denied. Choose a directory you own, or run as its owner."
    return f"{where}: {error.strerror or error}"
