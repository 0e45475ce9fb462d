"""openraft's ids, memberships and entries: golden bytes."""

from __future__ import annotations

import pytest
from openraft_bytes import ONE, STORED, T52, h, read_one

from trioraft.protocols.openraft.entries import encode_entry
from trioraft.protocols.openraft.membership import (
    membership_value,
    read_membership,
    read_stored_membership,
    stored_membership_value,
)
from trioraft.protocols.openraft.terms import pack_term
from trioraft.protocols.openraft.values import (
    log_id_value,
    pack,
    read_log_id,
    read_vote,
    unpack,
    vote_value,
)
from trioraft.raft.types import Configuration, Entry, EntryKind, Member, Session, SnapshotMeta


@pytest.mark.parametrize(
    ("golden", "term", "index"),
    [
        ("92 92 05 02 07", T52, 7),
        (
            "92 92 cd 01 2c ce 00 01 11 70 cf 00 00 00 01 00 00 00 00",
            pack_term(300, 70000),
            2**32,
        ),
        ("c0", 0, -1),
    ],
)
def test_log_ids(golden: str, term: int, index: int) -> None:
    assert pack(log_id_value(term, index)) == h(golden)
    assert read_log_id(unpack(h(golden))) == (term, index)


def test_named_log_id_and_vote() -> None:
    named_leader = "82 a4 7465726d 05 a7 6e6f64655f6964 02"
    log_id = h(f"82 a9 6c65616465725f6964 {named_leader} a5 696e646578 07")
    assert read_log_id(unpack(log_id)) == (T52, 7)
    vote = h(f"82 a9 6c65616465725f6964 {named_leader} a9 636f6d6d6974746564 c3")
    assert read_vote(unpack(vote)) == (T52, True)


@pytest.mark.parametrize("golden", ["92 05 07", "82 a9 6c65616465725f6964 05 a5 696e646578 07"])
def test_single_term_leader_mode_is_recognized_and_refused(golden: str) -> None:
    with pytest.raises(ValueError, match="single-term-leader"):
        read_log_id(unpack(h(golden)))


@pytest.mark.parametrize(
    ("golden", "committed"), [("92 92 05 02 c2", False), ("92 92 05 02 c3", True)]
)
def test_votes(golden: str, committed: bool) -> None:
    assert pack(vote_value(T52, committed=committed)) == h(golden)
    assert read_vote(unpack(h(golden))) == (T52, committed)


def test_pristine_vote() -> None:
    assert read_vote(unpack(h("92 92 00 03 c2"))) == (3, False)


# ---- golden bytes of memberships and entries


def test_uniform_membership() -> None:
    golden = h("92 91 93 01 02 03 83 01 91 a3 61 3a 31 02 91 a3 62 3a 32 03 91 a3 63 3a 33")
    configuration = read_membership(unpack(golden))
    assert configuration == Configuration(
        (Member("1", "a:1"), Member("2", "b:2"), Member("3", "c:3"))
    )
    # What trioraft writes has a scheme, because peers hand addresses to a URI parser.
    written = unpack(pack(membership_value(configuration)))
    assert written == [[[1, 2, 3]], {1: ["http://a:1"], 2: ["http://b:2"], 3: ["http://c:3"]}]


def test_joint_membership_with_a_learner() -> None:
    golden = h("92 92 93 01 02 03 93 01 02 04 85 01 90 02 90 03 90 04 90 09 90")
    configuration = read_membership(unpack(golden))
    assert [m.id for m in configuration.voters] == ["1", "2", "4"]
    assert [m.id for m in configuration.old_voters] == ["1", "2", "3"]
    assert [m.id for m in configuration.learners] == ["9"]
    assert pack(membership_value(configuration)) == golden


def test_empty_membership() -> None:
    assert read_membership(unpack(h("92 90 80"))) == Configuration(())
    assert pack(membership_value(Configuration(()))) == h("92 90 80")


@pytest.mark.parametrize(
    ("golden", "entry"),
    [
        ("92 92 92 05 02 07 a5 42 6c 61 6e 6b", Entry(T52, 7, EntryKind.BLANK, b"")),
        (
            "92 92 92 05 02 08 81 a6 4e 6f 72 6d 61 6c a1 78",
            Entry(T52, 8, EntryKind.WRITE, b"\xc1\xa1x"),
        ),
        (
            "92 92 92 05 02 08 81 a6 4e 6f 72 6d 61 6c c4 01 78",
            Entry(T52, 8, EntryKind.WRITE, b"x"),
        ),
        (
            "92 92 92 05 02 08 81 a6 4e 6f 72 6d 61 6c 93 c4 01 63 09 c4 01 78",
            Entry(T52, 8, EntryKind.WRITE, b"x", Session(b"c", 9)),
        ),
    ],
)
def test_entries(golden: str, entry: Entry) -> None:
    assert read_one(h(golden)) == entry
    assert encode_entry(entry) == h(golden)


def test_first_log_of_a_cluster() -> None:
    golden = h(
        "92 92 92 00 01 00 81 aa 4d 65 6d 62 65 72 73 68 69 70 92 91 91 01 81 01 91 a3 61 3a 31"
    )
    entry = read_one(golden)
    assert (entry.term, entry.index, entry.kind) == (1, 0, EntryKind.CONFIGURATION)
    assert Configuration.decode(entry.data) == ONE


def test_entry_of_another_application_goes_out_as_it_came() -> None:
    # One Put("Node", 6b -> 80), as CoordiNode proposes it.
    application = h("91 91 95 01 91 81 a3 50 75 74 93 a4 4e 6f 64 65 91 6b 91 cc 80 0a 09 c2")
    golden = h("92 92 92 05 02 08 81 a6 4e 6f 72 6d 61 6c") + application
    entry = read_one(golden)
    assert entry.data == b"\xc1" + application
    assert encode_entry(entry) == golden


@pytest.mark.parametrize(
    "golden",
    [
        "82 a6 6c6f675f6964 92 92 05 02 07 a7 7061796c6f6164 a5 42 6c 61 6e 6b",
        "92 92 92 05 02 07 00",
        "92 92 92 05 02 07 81 a5 42 6c 61 6e 6b c0",
    ],
)
def test_other_spellings_of_a_blank_entry(golden: str) -> None:
    assert read_one(h(golden)) == Entry(T52, 7, EntryKind.BLANK, b"")


def test_stored_memberships() -> None:
    assert read_stored_membership(unpack(h(STORED))) == (0, ONE)
    assert read_stored_membership(unpack(h("92 c0 92 90 80"))) == (-1, Configuration(()))
    meta = SnapshotMeta(7, T52, Configuration(()), configuration_index=-1)
    assert pack(stored_membership_value(meta)) == h("92 c0 92 90 80")
