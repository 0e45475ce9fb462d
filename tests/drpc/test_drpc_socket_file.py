"""The rules for the socket file: probe, refuse, replace, permissions, removal."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from trioraft.drpc.errors import SocketFileError
from trioraft.drpc.socket_file import MAX_PATH, bound_socket


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_nothing_there(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with bound_socket(path) as sock:
        assert stat.S_ISSOCK(path.lstat().st_mode)
        assert mode(path) == 0o600
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            sock.accept()[0].close()
    assert not path.exists()


def test_mode_is_never_wider_than_asked_for(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with bound_socket(tmp_path / "s"):
            assert mode(tmp_path / "s") == 0o600
        with bound_socket(tmp_path / "s", mode=0o666):
            assert mode(tmp_path / "s") == 0o666
    finally:
        os.umask(before)


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.exists()
    with bound_socket(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_live_socket_is_refused_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with bound_socket(path):
        with pytest.raises(SocketFileError, match="already in use by a running server"):
            bound_socket(path).__enter__()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_a_live_server_with_a_full_backlog_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(0)
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(str(path))
            with pytest.raises(SocketFileError, match="already in use"):
                bound_socket(path).__enter__()


def test_a_server_of_another_socket_type_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.bind(str(path))
        server.listen()
        with pytest.raises(SocketFileError, match="another socket type"):
            bound_socket(path).__enter__()
    assert path.exists()


def test_a_regular_file_is_never_deleted(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(SocketFileError, match="not a socket"):
        bound_socket(path).__enter__()
    assert path.read_text() == "data"


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SocketFileError, match="not a socket"):
        bound_socket(tmp_path).__enter__()


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(SocketFileError, match="directory does not exist"):
        bound_socket(tmp_path / "nowhere" / "s").__enter__()


def test_an_overlong_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SocketFileError, match=f"longer than {MAX_PATH} bytes"):
        bound_socket(tmp_path / ("s" * MAX_PATH)).__enter__()


def test_somebody_elses_file_is_not_unlinked_on_close(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with bound_socket(path):
        path.unlink()
        path.write_text("mine")
    assert path.read_text() == "mine"


def test_the_file_may_vanish_meanwhile(tmp_path: Path) -> None:
    with bound_socket(tmp_path / "s"):
        (tmp_path / "s").unlink()
