"""From exceptions to what the user reads: one line that says what to do next, and exit status 1."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import click

from trioraft.drpc import DrpcError
from trioraft.raft.errors import (
    ChangeInProgressError,
    ConfigurationMismatchError,
    ProposalDroppedError,
    StagingTimeoutError,
    TrioraftError,
)
from trioraft.rpc import GRPCError

__all__ = ["explain", "explained"]

# What to do after a refusal, where the error itself can't know the command line.
_ADVICE: tuple[tuple[type[TrioraftError], str], ...] = (
    (
        StagingTimeoutError,
        "Nothing was changed. Start the node first, with --join and the same --cluster and "
        "--wire, and check the address; then try again.",
    ),
    (ChangeInProgressError, "Wait until `trioraft admin members` shows that it is done."),
    (ConfigurationMismatchError, "Nothing was changed; see `trioraft admin members`."),
    (ProposalDroppedError, "Look at `trioraft admin members` before you try again."),
)


def explain(error: BaseException, address: str | None = None) -> str | None:
    """The message for an error that a user can do something about; None for a bug of ours.

    `address` is what the command was to listen on: the system's errors do not name it.
    """
    if isinstance(error, TrioraftError):
        advice = next((advice for kind, advice in _ADVICE if isinstance(error, kind)), "")
        return f"{error}. {advice}" if advice else str(error)
    if isinstance(error, DrpcError):
        return str(error)
    if isinstance(error, GRPCError):
        return f"{error.message or 'no message'} ({error.status.name})"
    if isinstance(error, OSError):
        return _explain_system(error, address)
    return None


def _explain_system(error: OSError, address: str | None) -> str:
    text = error.strerror or str(error)
    listen = f"cannot listen on {address}: " if address else ""
    if text.startswith("cannot listen on unix:"):
        return (
            f"{text}. Give --uds a path that is free, in a directory that exists and that you may "
            "write to."
        )
    if isinstance(error, socket.gaierror):
        return f"{listen}{text}. Give --listen a name or an address of this machine."
    if error.errno == errno.EADDRINUSE:
        return (
            f"{listen}{text}: another process has that port. "
            "Stop it, or choose another port (in --peers of every node too)."
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{listen}{text}. Give --listen an address that this machine has."
    if error.errno == errno.EACCES and address and not error.filename:
        return f"{listen}{text}. Ports below 1024 take privileges: choose one above."
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{text}"


@contextmanager
def explained(address: str | None = None) -> Iterator[None]:
    """Turn errors that a user can act on into a message; let bugs through with their traceback.

    Trio raises groups of exceptions. A group becomes a message if every error in it has one;
    the first is shown, the others are mostly its echoes.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        leaves = list(_leaves(group))
        if any(isinstance(leaf, KeyboardInterrupt) for leaf in leaves):
            raise click.Abort from group
        messages = [explain(leaf, address) for leaf in leaves]
        if None in messages:
            raise
        raise click.ClickException(str(messages[0])) from group
    except Exception as error:
        message = explain(error, address)
        if message is None:
            raise
        raise click.ClickException(message) from error


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
