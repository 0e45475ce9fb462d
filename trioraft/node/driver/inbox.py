"""What others hand to a driver: messages of peers, and work between the steps of the core."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from trioraft.node.settings import RuntimeSettings
from trioraft.node.wakeups import Doorbell, Slot
from trioraft.raft.core import RaftCore
from trioraft.raft.errors import (
    GroupStoppedError,
    InvariantError,
    OverloadedError,
    TrioraftError,
)
from trioraft.raft.messages import AppendReply, AppendRequest, StartElection, VoteReply, VoteRequest

__all__ = ["Inbox", "Message", "Refuse", "Reply"]

Message: TypeAlias = VoteRequest | VoteReply | AppendRequest | AppendReply | StartElection
Reply: TypeAlias = Callable[[Any], Callable[[], Any] | None]  # what it returns is for `Flushes`
Refuse: TypeAlias = Callable[[BaseException], Any]

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Inbox:
    """The part of `Driver` that takes in what need not be gathered. Plain calls, from any task."""

    def __init__(self, core: RaftCore, settings: RuntimeSettings) -> None:
        self.core = core
        self._settings = settings
        self._doorbell = Doorbell()  # the driver's task has something to do
        self._messages: deque[tuple[Message, Reply | None, Refuse | None]] = deque()
        self._calls: deque[tuple[Callable[[float], Any], Slot[Any] | None]] = deque()
        self._stopped: BaseException | None = None

    def receive(
        self, message: Message, reply: Reply | None = None, refuse: Refuse | None = None
    ) -> None:
        """Hand a peer's message in, for the next turn. Raises OverloadedError, GroupStoppedError.

        `reply` gets the answer to a request; `refuse` the ValueError for one that no correct
        peer sends, which is logged in any case and changes nothing.
        """
        self.check_running()
        if len(self._messages) >= self._settings.max_inbox:
            raise OverloadedError(f"{len(self._messages)} peer messages are waiting")
        self._messages.append((message, reply, refuse))

    def step(
        self, message: Message, reply: Reply | None = None, refuse: Refuse | None = None
    ) -> None:
        """As `receive`, with a turn soon, in the driver's task."""
        self.receive(message, reply, refuse)
        self._doorbell.ring()

    def call(self, work: Callable[[float], Any]) -> None:
        """Run `work(now)` in the driver's next pass, between steps of the core.

        Never refused: for what the group's own tasks report, each of them once per turn or so.
        """
        self._calls.append((work, None))
        self._doorbell.ring()

    def ask(self, work: Callable[[float], T]) -> Slot[T]:
        """As `call`, with an answer: what `work` returns, or the error that it refuses with.

        Raises OverloadedError, and GroupStoppedError, as does the slot if the group stops first.
        """
        self.check_running()
        if len(self._calls) >= self._settings.max_orders:
            raise OverloadedError(f"{len(self._calls)} orders are waiting for their turn")
        slot: Slot[T] = Slot()

        def answer(now: float) -> None:
            try:
                slot.resolve(work(now))
            except (ValueError, TrioraftError) as error:
                slot.fail(error)
                if isinstance(error, InvariantError):
                    raise

        self._calls.append((answer, slot))
        self._doorbell.ring()
        return slot

    def check_running(self) -> None:
        """Raises GroupStoppedError if the group has stopped."""
        if self._stopped is not None:
            raise GroupStoppedError(str(self._stopped)) from self._stopped

    # -- for the driver

    def _step(self, now: float) -> None:
        core = self.core
        messages = self._messages
        while messages:
            message, reply, refuse = messages.popleft()
            try:
                core.step(message, reply, now)
            except ValueError as error:
                logger.warning("%s: refused a peer's message: %s", core.node_id, error)
                if refuse is not None:
                    refuse(error)
        calls = self._calls
        while calls:
            calls.popleft()[0](now)
        # After a stall, what had arrived by then counts before the clock does.
        core.tick(now)

    def _fail_inbox(self, error: BaseException) -> None:
        """Nothing will be taken out any more."""
        for _, _, refuse in self._messages:
            if refuse is not None:
                refuse(error)
        for _, asked in self._calls:
            if asked is not None:
                asked.fail(error)
        self._messages.clear()
        self._calls.clear()
