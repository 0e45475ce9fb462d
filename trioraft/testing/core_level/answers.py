"""What a group was asked and owes an answer: each is answered once, and reads are never stale."""

from __future__ import annotations

from trioraft.raft.types import NodeId
from trioraft.testing.invariants import InvariantViolatedError

__all__ = ["Answers"]


class Answers:
    """Reads and membership changes by their tokens.

    An answer to what nobody asked, or a second answer, raises.

    reads, changes: how many reads were answered, and how many changes carried through.
    """

    def __init__(self) -> None:
        self.reads = 0
        self.changes = 0
        self._floors: dict[int, int] = {}  # token of a read -> what was committed when it was asked
        self._changes: set[int] = set()

    def expect_read(self, token: int, committed: int) -> None:
        """A read begins when everything up to `committed` is."""
        self._floors[token] = committed

    def read_served(self, node_id: NodeId, token: object, index: int) -> None:
        """A node serves the read from its state at `index`."""
        floor = self._floors.pop(_number(token))
        self.reads += 1
        if index < floor:
            raise InvariantViolatedError(
                f"{node_id}: stale read: {index} is served, but {floor} was committed before "
                "the read began"
            )

    def read_dropped(self, token: object) -> None:
        """The read must be asked again."""
        self._floors.pop(_number(token))

    def expect_change(self, token: int) -> None:
        """A change was accepted."""
        self._changes.add(token)

    def change_ended(self, token: object, *, success: bool) -> None:
        """The change has an outcome."""
        self._changes.remove(_number(token))
        self.changes += success


def _number(token: object) -> int:
    if not isinstance(token, int):
        raise AssertionError(f"an answer to {token!r}, which nobody asked")
    return token
