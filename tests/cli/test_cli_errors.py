"""Errors as the user sees them, and bugs as we want to see them."""

from __future__ import annotations

import errno
import socket

import click
import pytest

from trioraft.cli.errors import explained
from trioraft.drpc import SocketFileError
from trioraft.raft.errors import DataDirectoryError, NoQuorumError
from trioraft.rpc import GRPCError, Status


def message_of(error: BaseException, address: str | None = None) -> str:
    with pytest.raises(click.ClickException) as caught, explained(address):
        raise error
    assert caught.value.exit_code == 1
    return caught.value.message


def test_our_own_errors_are_shown_as_they_are() -> None:
    assert message_of(NoQuorumError("start more nodes")) == "start more nodes"
    assert message_of(SocketFileError("choose another path")) == "choose another path"
    assert message_of(GRPCError(Status.OUT_OF_RANGE, "compacted")) == "compacted (OUT_OF_RANGE)"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            OSError(errno.EADDRINUSE, "Address already in use"),
            "cannot listen on h:1: Address already in use: another process has that port. "
            "Stop it, or choose another port (in --peers of every node too).",
        ),
        (
            OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address"),
            "cannot listen on h:1: Cannot assign requested address. "
            "Give --listen an address that this machine has.",
        ),
        (
            socket.gaierror(-2, "Name or service not known"),
            "cannot listen on h:1: Name or service not known. "
            "Give --listen a name or an address of this machine.",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/f"), "/f: Permission denied"),
        (
            PermissionError(errno.EACCES, "Permission denied"),
            "cannot listen on h:1: Permission denied. "
            "Ports below 1024 take privileges: choose one above.",
        ),
        (
            FileNotFoundError(errno.ENOENT, "cannot listen on unix:/n/s: no such directory"),
            "cannot listen on unix:/n/s: no such directory. Give --uds a path that is free, in a "
            "directory that exists and that you may write to.",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_of_the_system(error: OSError, expected: str) -> None:
    assert message_of(error, "h:1") == expected


def test_a_group_of_errors_shows_the_first() -> None:
    first = ExceptionGroup("inner", [DataDirectoryError("not ours")])
    assert message_of(ExceptionGroup("outer", [first, NoQuorumError("echo")])) == "not ours"


def test_bugs_keep_their_traceback() -> None:
    with pytest.raises(ZeroDivisionError), explained():
        raise ZeroDivisionError
    with pytest.raises(ExceptionGroup), explained():
        raise ExceptionGroup("", [NoQuorumError("fine"), ZeroDivisionError()])


def test_ctrl_c_aborts_quietly() -> None:
    with pytest.raises(click.Abort), explained():
        raise BaseExceptionGroup("", [KeyboardInterrupt(), NoQuorumError("x")])
