"""`grpc_errors`: what callers of an application's own services are told."""

from __future__ import annotations

import pytest

import trioraft
from trioraft import (
    EntryTooLargeError,
    NoQuorumError,
    OverloadedError,
    ProposalDroppedError,
    TrioraftError,
)
from trioraft.rpc import GRPCError, Status


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NoQuorumError("no leader"), Status.UNAVAILABLE),
        (OverloadedError("too much"), Status.RESOURCE_EXHAUSTED),
        (ProposalDroppedError("who knows"), Status.ABORTED),
        (EntryTooLargeError("too large"), Status.INVALID_ARGUMENT),
        (TrioraftError("something else"), Status.UNKNOWN),
    ],
)
def test_errors_become_statuses(error: TrioraftError, status: Status) -> None:
    with pytest.raises(GRPCError) as caught, trioraft.grpc_errors():
        raise error
    assert (caught.value.status, caught.value.message) == (status, str(error))
    assert caught.value.__cause__ is error


def test_other_exceptions_pass() -> None:
    with pytest.raises(ZeroDivisionError), trioraft.grpc_errors():
        raise ZeroDivisionError
