"""One core alone on a bench: messages go in by hand, what comes out is looked at."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, TypeVar

from trioraft.raft import RaftConfig, RaftCore, RaftLog, Ready
from trioraft.raft.messages import AppendReply, AppendRequest, VoteReply, VoteRequest
from trioraft.raft.types import (
    NO_INDEX,
    NO_TERM,
    Configuration,
    Entry,
    EntryKind,
    HardState,
    Member,
    Role,
)

M = TypeVar("M")

TIMEOUT_MIN, TIMEOUT_MAX, HEARTBEAT = 1.0, 2.0, 0.25


def entries(first: int, *terms: int) -> list[Entry]:
    return [Entry(t, i, EntryKind.WRITE, b"t%d i%d" % (t, i)) for i, t in enumerate(terms, first)]


class Rig:
    """A core called n1, whose disk is as fast as `sync` says."""

    def __init__(
        self,
        *terms: int,
        voters: Sequence[str] = ("n1", "n2", "n3"),
        learners: Sequence[str] = (),
        term: int | None = None,
        voted_for: str | None = None,
        base: tuple[int, int] = (NO_INDEX, NO_TERM),
        **settings: Any,
    ) -> None:
        """`terms` are those of the log's entries behind `base`; all of them are durable."""
        settings.setdefault("election_timeout_min", TIMEOUT_MIN)
        settings.setdefault("election_timeout_max", TIMEOUT_MAX)
        settings.setdefault("heartbeat_interval", HEARTBEAT)
        self.config = RaftConfig(**{"commit_notice_delay": 0.0, **settings})
        log = RaftLog(*base, max_cached_bytes=self.config.max_cached_bytes)
        log.append(entries(base[0] + 1, *terms))
        log.mark_durable(log.last_index)
        highest = max([base[1], *terms], default=0)
        self.now = 0.0
        self.unsynced: list[Ready] = []
        self.core = RaftCore(
            node_id="n1",
            config=self.config,
            configuration=Configuration(
                tuple(Member(v, v) for v in voters), tuple(Member(v, v) for v in learners)
            ),
            log=log,
            hard_state=HardState(highest if term is None else term, voted_for),
            rng=random.Random(1),
            now=0.0,
        )

    def role(self) -> Role:
        return self.core.role

    def step(self, message: Any, token: object = None) -> None:
        self.core.step(message, token, self.now)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.core.tick(self.now)

    def time_out(self) -> None:
        self.now = self.core.next_deadline
        self.core.tick(self.now)

    def ready(self) -> Ready:
        """The next Ready, not synced."""
        ready = self.core.ready()
        self.unsynced.append(ready)
        return ready

    def sync(self) -> None:
        """Everything handed out so far is durable."""
        for ready in self.unsynced:
            last = ready.entries[-1] if ready.entries else None
            index, term = (last.index, last.term) if last else (NO_INDEX, NO_TERM)
            self.core.persisted(index, term, ready.sequence)
        self.unsynced.clear()

    def settle(self) -> Ready:
        """Take and sync until nothing comes; the last Ready that had messages or replies."""
        told = self.ready()
        self.sync()
        while self.core.has_ready():
            ready = self.ready()
            self.sync()
            if ready.messages or ready.replies or ready.synced_replies:
                told = ready
        return told

    def lead(self) -> None:
        """Win an election with n2's votes; the first entry is durable here, but only here."""
        self.time_out()
        if self.core.role is Role.PRE_CANDIDATE:
            self.step(VoteReply(self.core.term, "n2", True, pre=True))
        self.ready()
        self.sync()
        if self.core.role is not Role.LEADER:
            self.step(VoteReply(self.core.term, "n2", True))
        assert self.core.role is Role.LEADER
        self.ready()
        self.sync()

    def accept(self, follower: str, match: int | None = None, **fields: Any) -> None:
        """A follower has everything, or everything up to `match`."""
        index = self.core.last_index if match is None else match
        self.step(AppendReply(self.core.term, follower, True, index, **fields))


def append(
    prev: tuple[int, int] = (NO_TERM, NO_INDEX),
    *terms: int,
    term: int = 1,
    commit: int = NO_INDEX,
    leader: str = "n2",
    heartbeat: bool = False,
    round: int = 0,
) -> AppendRequest:
    """An append behind `prev` = (term, index)."""
    return AppendRequest(
        term,
        leader,
        prev[1],
        prev[0],
        entries(prev[1] + 1, *terms),
        commit,
        round,
        heartbeat,
    )


def vote(
    term: int, last: tuple[int, int] = (NO_TERM, NO_INDEX), candidate: str = "n2", **flags: bool
) -> VoteRequest:
    """A request for a vote by a candidate whose log ends with `last` = (term, index)."""
    return VoteRequest(term, candidate, last[1], last[0], **flags)


def sent(ready: Ready, kind: type[M]) -> list[tuple[str, M]]:
    """Messages of one kind."""
    return [(to, m) for to, m in ready.messages if isinstance(m, kind)]


def appends(ready: Ready, follower: str) -> list[AppendRequest]:
    """Entry-stream appends to one follower."""
    return [m for to, m in sent(ready, AppendRequest) if to == follower and not m.heartbeat]


def only_reply(ready: Ready) -> Any:
    """The one reply of a Ready, whether it waits for the disk or not."""
    ((_, reply),) = ready.replies + ready.synced_replies
    return reply


def terms(rig: Rig) -> tuple[int, ...]:
    log = rig.core.log
    return tuple(log.term_at(i) for i in range(log.base_index + 1, log.last_index + 1))
