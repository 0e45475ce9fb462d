"""The session table against a naive one that forgets nothing and works entry by entry."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioraft.node.session_codec import decode_sessions, encode_sessions
from trioraft.node.sessions import EXPIRED, REPLY_OVERHEAD, SessionLimits, SessionTable
from trioraft.raft.errors import ConfigurationError, SessionExpiredError
from trioraft.raft.session_ids import MAX_OUTSTANDING, call_id_of, client_id_of
from trioraft.raft.types import Session

SMALL = SessionLimits(
    max_clients=3, idle_entries=20, max_foreign_calls=4, max_reply_bytes=6 * (REPLY_OVERHEAD + 3)
)


def ours(birth: int, nonce: int, number: int, lowest_open: int) -> Session:
    return Session(client_id_of(birth, nonce), call_id_of(number, lowest_open))


def foreign(name: int, call: int) -> Session:
    return Session(b"%016d" % name, call)


def apply(table: SessionTable, log: list[tuple[int, Session]], cuts: list[int]) -> list[int]:
    """Run a log through `table` in batches that end at `cuts`; what became of each entry."""
    outcomes: list[int] = []
    batch: list[tuple[int, int]] = []
    for place, (index, session) in enumerate(log):
        first = table.admit(session, index)
        outcomes.append(first)
        batch.append((index, first))
        if place in cuts or place == len(log) - 1:
            for at, answer in batch:
                if at == answer:
                    table.settle(at, b"r%02d" % (at % 100))
                else:
                    table.settle_to(at)
            batch = []
    return outcomes


@st.composite
def logs(draw: st.DrawFn) -> list[tuple[int, Session]]:
    """Entries of clients that number their calls as ours do, retry, and stop for a while."""
    size = draw(st.integers(1, 80))
    rng = random.Random(draw(st.integers(0, 2**32)))
    births = dict.fromkeys(range(5), 0)
    numbers = dict.fromkeys(range(5), 0)
    log: list[tuple[int, Session]] = []
    index = 0
    for _ in range(size):
        index += rng.choice([1, 1, 1, 2, 8])
        kind = rng.random()
        if kind < 0.35 and log:
            log.append((index, rng.choice(log)[1]))  # a retry, perhaps a very late one
        elif kind < 0.8:
            nonce = rng.randrange(5)
            if rng.random() < 0.1:
                births[nonce], numbers[nonce] = rng.randrange(index + 1), 0
            numbers[nonce] += 1
            number = numbers[nonce]
            gap = rng.randrange(min(number, 3))
            log.append((index, ours(births[nonce], nonce, number, number - gap)))
        else:
            log.append((index, foreign(rng.randrange(2), rng.randrange(8))))
    return log


@given(logs(), st.lists(st.integers(0, 80)), st.lists(st.integers(0, 80)))
def test_batches_make_no_difference(
    log: list[tuple[int, Session]], cuts: list[int], others: list[int]
) -> None:
    one, other = SessionTable(SMALL), SessionTable(SMALL)
    assert apply(one, log, cuts) == apply(other, log, others)
    assert encode_sessions(one) == encode_sessions(other)


@given(logs())
def test_a_registered_call_is_never_applied_twice(log: list[tuple[int, Session]]) -> None:
    table = SessionTable(SMALL)
    applied: dict[tuple[bytes, int], int] = {}  # the naive table
    for (index, session), first in zip(log, apply(table, log, list(range(len(log)))), strict=True):
        if session.client_id[6] >> 4 != 8:
            continue
        call = (session.client_id, session.call_id >> 10)
        if first == index:
            assert call not in applied
            applied[call] = index
        elif first != EXPIRED:
            assert applied[call] == first


@given(logs())
def test_without_pressure_a_retry_gets_the_first_answer(log: list[tuple[int, Session]]) -> None:
    table = SessionTable()
    first_of: dict[tuple[bytes, int], int] = {}
    floors: dict[bytes, int] = {}
    for index, session in log:
        number, gap = session.call_id >> 10, session.call_id & 1023
        call = (session.client_id, number if session.client_id[6] >> 4 == 8 else session.call_id)
        if session.client_id[6] >> 4 == 8:
            floor = max(floors.get(session.client_id, 0), number - gap)
            floors[session.client_id] = floor
            expected = EXPIRED if number < floor else first_of.setdefault(call, index)
        else:
            expected = first_of[call] = index
        first = table.admit(session, index)
        assert first == expected
        if first == index:
            table.settle(index, b"%d" % index)
        else:
            table.settle_to(index)
        if first != EXPIRED:
            assert table.find(session) == (first, b"%d" % first)


@given(logs(), st.integers(0, 80))
@settings(max_examples=50)
def test_a_snapshot_goes_on_as_the_table_does(log: list[tuple[int, Session]], cut: int) -> None:
    every = list(range(len(log)))
    table = SessionTable(SMALL)
    before, after = log[:cut], log[cut:]
    apply(table, before, every)
    copy = decode_sessions(encode_sessions(table), SMALL)
    assert apply(copy, after, every) == apply(table, after, every)
    assert encode_sessions(copy) == encode_sessions(table)


@given(logs())
def test_bounds_hold(log: list[tuple[int, Session]]) -> None:
    table = SessionTable(SMALL)
    for place in range(len(log)):
        apply(table, log[place : place + 1], [0])
        assert len(table.clients) <= SMALL.max_clients
        assert table.reply_bytes <= SMALL.max_reply_bytes
        assert table.reply_bytes == sum(len(r) + REPLY_OVERHEAD for r in table.replies.values())
        known = [i for client in table.clients.values() for i in client.calls.values()]
        assert set(table.replies) <= set(known), "a reply is kept that nobody can ask for"
        assert all(
            len(c.calls) <= SMALL.max_foreign_calls
            for c in table.clients.values()
            if c.birth is None
        )


def test_an_evicted_session_is_refused_and_a_younger_one_is_not() -> None:
    table = SessionTable(SMALL)
    apply(table, [(10, ours(10, 1, 1, 1))], [0])
    apply(table, [(11 + n, foreign(n, 1)) for n in range(3)], [0])
    late = ours(10, 1, 2, 2)
    with pytest.raises(SessionExpiredError, match="may have been applied"):
        table.find(late)
    assert table.admit(late, 20) == EXPIRED
    assert table.admit(ours(9, 7, 1, 1), 21) == EXPIRED, "born before one that was forgotten"
    assert table.admit(ours(11, 2, 1, 1), 22) == 22


def test_an_idle_session_expires_by_the_length_of_the_log() -> None:
    table = SessionTable(SMALL)
    apply(table, [(0, ours(0, 1, 1, 1)), (20, foreign(1, 1)), (21, foreign(1, 2))], [0])
    assert table.admit(ours(0, 1, 2, 2), 22) == EXPIRED


def test_nobody_is_born_in_the_future() -> None:
    table = SessionTable()
    assert table.admit(ours(11, 1, 1, 1), 10) == EXPIRED
    assert table.admit(ours(10, 1, 1, 1), 10) == 10


def test_a_blind_table_lets_no_call_of_older_sessions_in_and_applies_what_is_there() -> None:
    """Other replicas do, and another leader knew better."""
    table = SessionTable.blind(10)
    old = ours(11, 1, 2, 1)
    with pytest.raises(SessionExpiredError):
        table.find(old)
    apply(table, [(20, old)], [0])
    assert table.find(old) == (20, b"r20")
    with pytest.raises(SessionExpiredError):
        table.find(ours(11, 1, 1, 1))
    assert table.find(ours(12, 1, 1, 1)) is None
    copy = decode_sessions(encode_sessions(table), table.limits)
    with pytest.raises(SessionExpiredError):
        copy.find(ours(11, 1, 1, 1))


def test_what_foreign_clients_have_in_the_log_is_applied() -> None:
    """Their own servers do so; a leader finds what it remembers, and answers the retry."""
    table = SessionTable(SMALL)
    apply(table, [(n, foreign(1, 7)) for n in (3, 4)], [0])
    assert table.find(foreign(1, 7)) == (4, b"r04")
    assert list(table.replies) == [4]


def test_long_client_ids_are_refused() -> None:
    table = SessionTable()
    assert table.admit(Session(b"x" * 64, 1), 1) == 1
    assert table.admit(Session(b"x" * 65, 1), 2) == EXPIRED


def test_a_gap_tells_which_answers_are_needed() -> None:
    table = SessionTable()
    numbers = range(1, MAX_OUTSTANDING + 1)
    apply(table, [(n, ours(0, 1, n, 1)) for n in numbers], [0])
    assert len(table.replies) == MAX_OUTSTANDING
    top = MAX_OUTSTANDING + 1
    apply(table, [(top, ours(0, 1, top, top))], [0])
    assert list(table.replies) == [top]
    with pytest.raises(SessionExpiredError):
        table.find(ours(0, 1, 1, 1))


def test_a_call_whose_reply_was_dropped_is_known_and_refused() -> None:
    table = SessionTable(SMALL)
    sessions = [ours(0, 1, n, 1) for n in range(1, 9)]
    apply(table, list(enumerate(sessions)), [0])
    assert list(table.replies) == [2, 3, 4, 5, 6, 7]
    assert table.admit(sessions[0], 10) == 0
    with pytest.raises(SessionExpiredError):
        table.find(sessions[0])


def test_a_call_that_is_being_applied_is_not_found_yet() -> None:
    table = SessionTable()
    session = ours(0, 1, 1, 1)
    table.admit(session, 5)
    assert table.find(session) is None
    table.settle(5, b"done")
    assert table.find(session) == (5, b"done")


def test_damaged_tables_and_other_limits_are_refused() -> None:
    table = SessionTable(SMALL)
    apply(table, [(n, ours(0, 1, n, 1)) for n in range(1, 4)], [0])
    data = encode_sessions(table)
    with pytest.raises(ConfigurationError, match="the same on every node"):
        decode_sessions(data, SessionLimits())
    for broken in (b"", b"x" + data[1:], data + b"x", *(data[:n] for n in range(len(data)))):
        with pytest.raises(ValueError, match="session table"):
            decode_sessions(broken, SMALL)
