"""Linearizable reads by read index (thesis §6.4): no log entry, no disk, no trust in clocks.

A read may be answered from the state at the commit index of the moment it arrived, once a
quorum has acknowledged a heartbeat round that began after it: then nobody else could have
committed anything in between. All reads that arrive before the next round share it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

__all__ = ["MAX_READ_ROUNDS", "ReadQueue"]

# Rounds that reads wait for and that are not confirmed; further reads wait until one is.
MAX_READ_ROUNDS = 8


@dataclass(slots=True)
class ReadBatch:
    round: int
    index: int
    tokens: list[object]


@dataclass(slots=True)
class ReadQueue:
    """The reads of one leadership, oldest first.

    waiting: reads whose round has not begun.
    begun: batches that wait for their round.
    """

    waiting: list[object] = field(default_factory=list)
    begun: deque[ReadBatch] = field(default_factory=deque)

    @property
    def open(self) -> int:
        """How many reads have no answer yet."""
        return len(self.waiting) + sum(len(batch.tokens) for batch in self.begun)

    @property
    def wants_round(self) -> bool:
        return bool(self.waiting) and len(self.begun) < MAX_READ_ROUNDS

    def begin(self, round_number: int, index: int) -> None:
        """Heartbeat round `round_number` begins now; `index` is what its reads must see.

        One that begins because it is time takes no reads along when enough rounds are open. Its
        answers confirm those, and with that a round for the others begins.
        """
        if self.wants_round:
            self.begun.append(ReadBatch(round_number, index, self.waiting))
            self.waiting = []

    def confirmed(self, round_number: int) -> list[tuple[list[object], int]]:
        """A quorum has acknowledged `round_number`: the reads that it and earlier ones settle."""
        done = []
        while self.begun and self.begun[0].round <= round_number:
            batch = self.begun.popleft()
            done.append((batch.tokens, batch.index))
        return done

    def drop(self) -> list[object]:
        """Leadership is lost: every read that is still open."""
        tokens = [token for batch in self.begun for token in batch.tokens] + self.waiting
        self.begun.clear()
        self.waiting = []
        return tokens
