"""Interceptors that wait for nothing: two plain functions instead of an async generator.

Trio keeps account of async generators, which is most of what an empty one costs per call. What
comes along with trioraft is written with this where it can be.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from types import TracebackType
from typing import Generic, TypeAlias, TypeVar

from .onion import InterceptedCall, Outcome

__all__ = ["End", "plain"]

CallT = TypeVar("CallT", bound=InterceptedCall)

#: Called with how the call has ended. It must not raise.
End: TypeAlias = Callable[[Outcome], object]


def plain(
    begin: Callable[[CallT], End | None],
) -> Callable[[CallT], AbstractAsyncContextManager[None]]:
    """An interceptor that calls `begin(call)`, and what that returns with the call's outcome.

        @plain
        def counted(call: ServerCall) -> End:
            calls.update([call.method])
            return lambda outcome: failures.update([call.method] if not outcome.ok else [])

    `begin` may refuse the call by raising GRPCError, answer it (`call.respond`), add metadata and
    hooks, and return None. Exceptions pass. Neither function can wait.
    """
    return partial(_Plain, begin)


class _Plain(Generic[CallT]):
    __slots__ = ("_begin", "_call", "_end")

    def __init__(self, begin: Callable[[CallT], End | None], call: CallT) -> None:
        self._begin = begin
        self._call = call
        self._end: End | None = None

    async def __aenter__(self) -> None:
        self._end = self._begin(self._call)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._end is not None:
            outcome = self._call.outcome
            assert outcome is not None  # the layers are being left
            self._end(outcome)
