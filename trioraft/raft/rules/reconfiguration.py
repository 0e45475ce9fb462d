"""Carrying a change of members through: staging, joint consensus, the end (Raft §6, thesis ch. 4).

New voters are first brought up to date without a say (thesis §4.2.1). Then the leader writes the
joint configuration, in which a majority of the old *and* of the new voters decide, and once that
is committed the new one alone. What changes no majority takes one entry. A configuration counts
from the moment it is in a log, so whichever leader finds a joint one in its log ends it.
"""

from __future__ import annotations

import math

from trioraft.raft.errors import (
    ChangeInProgressError,
    ConfigurationError,
    LeaderNotReadyError,
    NoQuorumError,
    StagingTimeoutError,
    TrioraftError,
)
from trioraft.raft.leadership import Change, ChangePhase, Leadership, StagedPeer
from trioraft.raft.membership import MembershipChange, needs_joint
from trioraft.raft.state import State
from trioraft.raft.tracking.progress import ProgressState
from trioraft.raft.tracking.quorum import Quorum
from trioraft.raft.types import Configuration, Entry, EntryKind, Member, NodeId

from .roles import writing_leadership
from .transfer import retire

__all__ = ["abandon_change", "advance", "change_membership", "has_work"]

# Election timeouts for which a removed member is still sent the entry that removes it.
LEAVING_TIMEOUTS = 4


def change_membership(s: State, change: MembershipChange, token: object) -> None:
    """Begin a change; raises, or answers `token` later, as `RaftCore.change_membership` says."""
    lead = writing_leadership(s)
    # Joint consensus needs this less than single-server changes do (there its lack was the bug of
    # 2015: two leaders commit changes by majorities that do not overlap), but a leader that does
    # not know what is committed cannot know which configuration its change begins from.
    if s.commit < lead.term_start:
        raise LeaderNotReadyError(f"nothing is committed yet in term {s.term}")
    if lead.change is not None or s.configuration.is_joint or s.configuration_index > s.commit:
        raise ChangeInProgressError("another change of members is under way")
    wanted = change.applied_to(s.configuration)
    if _same(s.configuration, wanted):
        s.outbox.changes.append((token, s.configuration))
        return
    if not s.config.majority_add:
        _check_majority_add(s.configuration, wanted)
    if needs_joint(s.configuration, wanted):
        staged = {
            m.id: StagedPeer(m, s.now) for m in wanted.voters if not s.configuration.is_voter(m.id)
        }
        for node_id in staged:
            # Removed a moment ago and still told of it; what it had then it may have lost since.
            if lead.leaving.pop(node_id, None) is not None:
                del lead.followers[node_id]
        lead.change = Change(token, wanted, ChangePhase.STAGING, staged)
        s.refresh_peers()
    else:
        lead.change = Change(token, wanted, ChangePhase.FINAL)
        _write(s, lead, wanted)


def abandon_change(s: State) -> bool:
    """Give up a change that is still staging; False if there is none, or it is too late."""
    lead = s.leadership
    if lead is None or lead.change is None or lead.change.phase is not ChangePhase.STAGING:
        return False
    _fail(s, lead, StagingTimeoutError("the change of members was abandoned before it began"))
    return True


def has_work(s: State, lead: Leadership) -> bool:
    """`advance` may find something to do."""
    return (
        lead.change is not None or bool(lead.leaving) or s.configuration.is_joint or not s.is_voter
    )


def advance(s: State, lead: Leadership) -> None:
    """Take the change that is under way as far as it can go now."""
    if lead.leaving:
        _dismiss(s, lead)
    change = lead.change
    if change is not None and change.phase is ChangePhase.STAGING:
        _stage(s, lead, change)
        return
    if s.configuration_index > s.commit or s.commit < lead.term_start:
        return
    if s.configuration.is_joint:
        if lead.transfer is None:
            if change is not None:
                change.phase = ChangePhase.FINAL
            _write(s, lead, Configuration(s.configuration.voters, s.configuration.learners))
        return
    if change is not None:
        lead.change = None
        s.outbox.changes.append((change.token, s.configuration))
    if not s.is_voter:
        retire(s, lead)


def _stage(s: State, lead: Leadership, change: Change) -> None:
    """Wait for the new voters; then begin the joint phase, unless it could not be ended."""
    waiting = [peer for peer in change.staged.values() if not _caught_up(s, lead, peer)]
    late = [peer for peer in waiting if s.now >= peer.since + s.config.staging_timeout]
    if late:
        names = ", ".join(
            f"{p.member.id} at {p.member.address} (has entries up to {p.match_index})" for p in late
        )
        _fail(
            s,
            lead,
            StagingTimeoutError(
                f"no progress in {s.config.staging_timeout:g} s, commit is {s.commit}: {names}"
            ),
        )
    elif not waiting:
        if silent := _silent_majority(s, lead, change.wanted):
            _fail(s, lead, NoQuorumError(f"no majority of the new voters answers: {silent} silent"))
            return
        change.phase = ChangePhase.JOINT
        change.staged = {}
        _write(
            s,
            lead,
            Configuration(change.wanted.voters, change.wanted.learners, s.configuration.voters),
        )


def _caught_up(s: State, lead: Leadership, peer: StagedPeer) -> bool:
    """It answers, its log is known to match, and what it lacks it will have in no time."""
    progress = lead.followers[peer.member.id]
    if progress.match_index > peer.match_index:
        peer.match_index, peer.since = progress.match_index, s.now
    elif progress.state is ProgressState.SNAPSHOT and not progress.snapshot_lost:
        peer.since = max(peer.since, progress.contact)  # a large one may take its time
    return (
        progress.state is ProgressState.REPLICATE
        and progress.match_index + s.config.staging_max_gap >= s.commit
        and s.now - progress.contact < s.config.election_timeout_max
    )


def _silent_majority(s: State, lead: Leadership, wanted: Configuration) -> str:
    """Who does not answer, if without them the new voters are no majority."""

    def contact_of(voter: NodeId) -> float:
        return math.inf if voter == s.node_id else lead.followers[voter].contact

    horizon = s.now - s.config.election_timeout_max
    if Quorum(wanted).agreed(contact_of, -math.inf) > horizon:
        return ""
    return ", ".join(m.id for m in wanted.voters if contact_of(m.id) <= horizon)


def _fail(s: State, lead: Leadership, error: TrioraftError) -> None:
    """Nothing of the change is in the log yet: forget it, and say why."""
    if lead.change is not None:
        s.outbox.changes.append((lead.change.token, error))
        lead.change = None
        s.refresh_peers()


def _write(s: State, lead: Leadership, configuration: Configuration) -> None:
    """Append it; it is in force at once (§6). Who is not in it any more is told for a while."""
    before = s.configuration.members()
    index = s.log.last_index + 1
    s.log.append([Entry(s.term, index, EntryKind.CONFIGURATION, configuration.encode())])
    until = s.now + LEAVING_TIMEOUTS * s.config.election_timeout_max
    for member in before:
        if configuration.member(member.id) is None and member.id != s.node_id:
            lead.leaving[member.id] = (member, until)
    lead.leaving = {i: m for i, m in lead.leaving.items() if configuration.member(i) is None}
    s.refresh_configuration()


def _dismiss(s: State, lead: Leadership) -> None:
    """Drop removed members that know that they are, and those that could not be told."""
    gone = [
        node_id
        for node_id, (_, until) in lead.leaving.items()
        if s.now >= until or lead.followers[node_id].commit >= s.configuration_index
    ]
    for node_id in gone:
        del lead.leaving[node_id]
    if gone:
        s.refresh_peers()


def _check_majority_add(current: Configuration, wanted: Configuration) -> None:
    """Ratis's rule against losing the majority at once: more must be kept than come new."""
    known = {m.id for m in current.members()}
    new = [m.id for m in wanted.voters if m.id not in known]
    kept = len(wanted.voters) - len(new)
    if len(new) >= max(kept, 1) and not (len(current.voters) == kept == len(new) == 1):
        raise ConfigurationError(
            f"{len(new)} new voters ({', '.join(new)}) beside {kept} present ones: if they fail, "
            "the group has no majority. Add fewer at a time, or add them as learners first"
        )


def _same(current: Configuration, wanted: Configuration) -> bool:
    """The same members with the same addresses and priorities, in any order."""

    def key(members: tuple[Member, ...]) -> list[tuple[NodeId, str, int]]:
        return sorted((m.id, m.address, m.priority) for m in members)

    return (key(current.voters), key(current.learners)) == (
        key(wanted.voters),
        key(wanted.learners),
    )
