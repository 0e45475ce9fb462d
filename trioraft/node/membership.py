"""What operators ask of a group where it leads: other members, and pauses of elections.

The core does the work; here is who waits for it. A change of members can take long, because new
voters are brought up to date first, so its caller may give it up while that goes on.
"""

from __future__ import annotations

import trio

from trioraft.raft.core import RaftCore
from trioraft.raft.errors import NoQuorumError, TrioraftError
from trioraft.raft.membership import MembershipChange
from trioraft.raft.types import Configuration, NodeId

from .driver import Driver
from .wakeups import Slot

__all__ = ["GroupAdmin", "removed_error"]


def removed_error(node_id: NodeId) -> NoQuorumError:
    """What a removed node says to whoever asks it for more than it has."""
    return NoQuorumError(f"node {node_id} was removed from the group; ask one of its members")


class GroupAdmin:
    """The operators' calls of one group on one node, from any task."""

    def __init__(self, core: RaftCore, driver: Driver) -> None:
        self._core = core
        self._driver = driver
        self._waiting: dict[_Change, None] = {}

    @property
    def removed(self) -> bool:
        """This node was a member and is not any more; see `RaftCore.removed`."""
        return self._core.removed

    def check_member(self) -> None:
        """Raises NoQuorumError if this node was removed."""
        if self._core.removed:
            raise removed_error(self._core.node_id)

    async def change_membership(self, change: MembershipChange) -> Configuration:
        """Change who is a member (Raft §6); returns the members once that is committed.

        On the leader only. Raises what `RaftCore.change_membership` raises or answers, and
        GroupStoppedError. Cancelling gives the change up if its new voters are still catching
        up; later it goes on, and only the waiting ends.
        """
        pending = _Change(change)
        self._waiting[pending] = None
        try:
            await self._driver.ask(lambda now: pending.begin(self._core, now)).wait()
            return await pending.outcome.wait()
        except trio.Cancelled:
            pending.unwanted = True
            if pending.begun and not pending.outcome.is_set:
                # One change at a time is under way: as ours is not over, it is ours.
                self._driver.call(self._core.abandon_change)
            raise
        finally:
            del self._waiting[pending]

    async def step_down(self) -> None:
        """Stop leading without naming a successor. Raises NotLeaderError, GroupStoppedError."""
        await self._driver.ask(self._core.step_down).wait()

    async def pause_elections(self) -> None:
        """Keep this node from standing for election until it is resumed or restarted.

        It votes and follows as before, and leads on if it leads. Raises GroupStoppedError.
        """
        await self._driver.ask(lambda _now: self._core.pause_elections()).wait()

    async def resume_elections(self) -> None:
        """Let this node stand for election again. Raises GroupStoppedError."""
        await self._driver.ask(self._core.resume_elections).wait()

    def stop(self, error: BaseException) -> None:
        """The group has stopped: whoever waits for a change is told so."""
        for pending in self._waiting:
            pending.outcome.fail(error)


class _Change:
    """One change that somebody waits for; the core's token for it is its `finish`."""

    __slots__ = ("begun", "change", "outcome", "unwanted")

    def __init__(self, change: MembershipChange) -> None:
        self.change = change
        self.outcome: Slot[Configuration] = Slot()
        self.begun = False
        self.unwanted = False

    def begin(self, core: RaftCore, now: float) -> None:
        if not self.unwanted:
            core.change_membership(self.change, self.finish, now)
            self.begun = True

    def finish(self, outcome: Configuration | TrioraftError) -> None:
        if isinstance(outcome, Configuration):
            self.outcome.resolve(outcome)
        else:
            self.outcome.fail(outcome)
