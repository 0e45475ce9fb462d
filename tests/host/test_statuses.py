"""`grpc_errors`: what callers of an application's own services are told."""

from __future__ import annotations

import re
from pathlib import Path

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


def test_the_documented_statuses_are_these() -> None:
    page = Path(__file__).parents[2] / "docs" / "consensus.md"
    rows = [line.split("|") for line in page.read_text(encoding="utf-8").splitlines()]
    documented = {
        name: Status[row[2].strip()]
        for row in rows
        if len(row) > 3 and row[2].strip() in Status.__members__
        for name in re.findall(r"`(\w+Error)`", row[1])
    }
    assert len(documented) >= 10
    for name, status in documented.items():
        with pytest.raises(GRPCError) as caught, trioraft.grpc_errors():
            raise getattr(trioraft, name)("why")
        assert caught.value.status is status, name


def test_other_exceptions_pass() -> None:
    with pytest.raises(ZeroDivisionError), trioraft.grpc_errors():
        raise ZeroDivisionError
