"""One handler for every method that no service has: for proxies, recorders and test doubles."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

from trioraft.rpc.wire.framing import Encoded

from .stream import ServerStream

if TYPE_CHECKING:
    from .service import Method, Methods

__all__ = ["MethodsAndMore", "UnknownHandler"]

#: Gets a call of any kind, as a bidirectional stream of bytes: messages arrive as `bytes`, and are
#: sent as `Encoded`. `stream.method_name` says what was called. How it ends is the call's status.
UnknownHandler: TypeAlias = Callable[[ServerStream[Encoded, bytes]], Awaitable[None]]


class MethodsAndMore:
    """Methods by their path, with something for every other path, too.

    Nothing is kept per path: a caller may make up as many as it likes.
    """

    def __init__(self, methods: Methods, make: Callable[[str], Method]) -> None:
        self._methods = methods
        self._make = make

    def get(self, path: bytes, /) -> Method | None:
        """What answers calls of `path`; None if it is none: `/service/method` in ASCII."""
        method = self._methods.get(path)
        if method is None and path[:1] == b"/" and path.count(b"/") > 1 and path.isascii():
            return self._make(path.decode("ascii"))
        return method
