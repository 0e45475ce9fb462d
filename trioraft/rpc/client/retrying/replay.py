"""What a call has sent, kept to be sent again; bounded per call and per channel.

Source: gRFC A6, "Memory Management (Buffering)".
"""

from __future__ import annotations

__all__ = ["Account", "Replay"]


class Account:
    """The bytes that all calls of a channel keep together."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit: int = limit
        self.used: int = 0


class Replay:
    """The messages of one call, encoded, in order.

    `add` one at a time. Once that has failed, the call goes on without being kept.
    """

    __slots__ = ("_account", "_limit", "messages", "size")

    def __init__(self, limit: int, account: Account) -> None:
        self._limit = limit
        self._account = account
        self.messages: list[bytes] = []
        self.size: int = 0

    def add(self, data: bytes) -> bool:
        """Keep one more message. False: it is over a limit, and was not taken."""
        size = len(data)
        account = self._account
        if self.size + size > self._limit or account.used + size > account.limit:
            return False
        account.used += size
        self.size += size
        self.messages.append(data)
        return True

    def force(self, data: bytes) -> None:
        """Keep one more, whatever its size: it has no stream to go out on yet."""
        self._account.used += len(data)
        self.size += len(data)
        self.messages.append(data)

    def drop(self) -> None:
        """Nothing will be sent again."""
        self._account.used -= self.size
        self.size = 0
        self.messages = []
