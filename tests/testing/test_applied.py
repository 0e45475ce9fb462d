"""What replicas apply is compared: order, content, replies, gaps, calls of sessions."""

from __future__ import annotations

import pytest

from trioraft.node import Command
from trioraft.raft.session_ids import call_id_of
from trioraft.raft.types import Session
from trioraft.testing.applied import AppliedModel
from trioraft.testing.invariants import InvariantViolatedError

REGISTERED = bytes(6) + bytes([0x80, 1, 0x80]) + bytes(7)


def command(index: int, data: bytes = b"x", session: Session | None = None) -> Command:
    return Command(index, 1, data, session)


def model_of(*indices: int) -> AppliedModel:
    model = AppliedModel()
    last = None
    for index in indices:
        model.applied("1", last, command(index), b"ok")
        last = index
    return model


def test_replicas_that_do_the_same() -> None:
    model = model_of(1, 2, 5)
    model.applied("2", None, command(1), b"ok")
    model.applied("2", 1, command(2), b"ok")
    model.applied("3", None, command(5), b"ok")  # after a snapshot
    assert model.count == 3


@pytest.mark.parametrize(
    ("last", "index", "data", "reply", "complaint"),
    [
        (None, 2, b"y", b"ok", "where others applied"),
        (None, 2, b"x", b"no", "where others applied"),
        (1, 5, b"x", b"ok", "from 1 to 5 without 2"),
        (2, 2, b"x", b"ok", "applied 2 after 2"),
        (None, 3, b"x", b"ok", "which others left out"),
        (2, 6, b"x", b"ok", "from 2 to 6 without 5"),
    ],
)
def test_replicas_that_do_not(
    last: int | None, index: int, data: bytes, reply: bytes, complaint: str
) -> None:
    with pytest.raises(InvariantViolatedError, match=complaint):
        model_of(1, 2, 5).applied("2", last, command(index, data), reply)


def test_a_call_of_a_session_is_applied_once() -> None:
    model = AppliedModel()
    call = Session(REGISTERED, call_id_of(7, 7))
    retried = Session(REGISTERED, call_id_of(7, 5))
    model.applied("1", None, command(1, session=call), b"ok")
    model.applied("2", None, command(1, session=call), b"ok")
    with pytest.raises(InvariantViolatedError, match="was applied at 1 and at 2"):
        model.applied("1", 1, command(2, session=retried), b"ok")
    foreign = Session(b"elsewhere", 7)
    model = AppliedModel()
    model.applied("1", None, command(1, session=foreign), b"ok")
    model.applied("1", 1, command(2, session=foreign), b"ok")
