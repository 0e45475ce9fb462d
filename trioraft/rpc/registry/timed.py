"""When a connection's calls and messages last were: known of those in a register, and only there.

The counts are what every connection has. In the class of a registered one they are properties that
look at the clock as well, so that the others pay nothing, not even for the question.
"""

from __future__ import annotations

import trio

from trioraft.rpc.wire.connection import Connection

__all__ = ["Timed"]


class Timed(Connection):
    """The connection of either end, as its class with `Timed` in front. Times are Trio's."""

    #: When the last call began, the last message was sent, and received; None: there was none.
    called_at: float | None = None
    sent_at: float | None = None
    received_at: float | None = None

    _calls_started = _messages_sent = _messages_received = 0

    @property
    def calls_started(self) -> int:
        """As `Connection`'s."""
        return self._calls_started

    @calls_started.setter
    def calls_started(self, count: int) -> None:
        self._calls_started = count
        if count:
            self.called_at = trio.current_time()

    @property
    def messages_sent(self) -> int:
        """As `Connection`'s."""
        return self._messages_sent

    @messages_sent.setter
    def messages_sent(self, count: int) -> None:
        self._messages_sent = count
        if count:
            self.sent_at = trio.current_time()

    @property
    def messages_received(self) -> int:
        """As `Connection`'s."""
        return self._messages_received

    @messages_received.setter
    def messages_received(self, count: int) -> None:
        self._messages_received = count
        if count:
            self.received_at = trio.current_time()
