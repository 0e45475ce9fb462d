"""What both ends of a call share: the layers of interceptors around it, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from grpclib.const import Cardinality

from trioraft.rpc.status import GRPCError, ProtocolError, Status

__all__ = ["Hook", "InterceptedCall", "Layers", "Outcome", "Traffic", "outcome_of", "through"]

CallT = TypeVar("CallT", bound="InterceptedCall")

#: Sees a message; what it returns takes the message's place, None leaves it as it is.
Hook: TypeAlias = Callable[[Any], object]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call has ended.

    message: The status message, for people.
    details: As `GRPCError.details`.
    """

    status: Status
    message: str | None = None
    details: Any = None

    @property
    def ok(self) -> bool:
        """Whether the status is OK."""
        return self.status is Status.OK


class Traffic:
    """The messages that a call has sent and received.

    Bytes are those of the messages as they leave, without framing.
    """

    __slots__ = ("received", "received_bytes", "sent", "sent_bytes")

    def __init__(self) -> None:
        self.sent: int = 0
        self.sent_bytes: int = 0
        self.received: int = 0
        self.received_bytes: int = 0


class InterceptedCall:
    """What client and server interceptors have in common to look at."""

    __slots__ = (
        "_final",
        "_judge",
        "answered",
        "cardinality",
        "error",
        "left",
        "method",
        "reply",
    )

    def __init__(
        self,
        method: str,
        cardinality: Cardinality,
        judge: Callable[[BaseException | None], Outcome],
    ) -> None:
        #: The path of the method: `/package.Service/Method`.
        self.method: str = method
        self.cardinality: Cardinality = cardinality
        #: What has risen through the layers inside of the one that is being left. Internal.
        self.error: BaseException | None = None
        #: Whether the layers are being left. Internal.
        self.left: bool = False
        self._judge = judge
        self._final: Outcome | None = None
        #: Whether an interceptor has given the reply: nothing inside of it runs then.
        self.answered: bool = False
        #: The reply that an interceptor has given.
        self.reply: Any = None

    @property
    def service(self) -> str:
        """`package.Service`."""
        return self.method[1:].rpartition("/")[0]

    @property
    def name(self) -> str:
        """`Method`."""
        return self.method.rpartition("/")[2]

    @property
    def outcome(self) -> Outcome | None:
        """How the call has ended inside of this interceptor; None before the `yield` is over.

        Outer interceptors may still change it by exceptions. A server's call whose handler was
        cancelled has DEADLINE_EXCEEDED, or CANCELLED if the caller or the connection has gone. A
        client's call has CANCELLED if its block was left before the call had ended.
        """
        if self._final is not None or not self.left:
            return self._final
        return self._judge(self.error)

    def settle(self) -> None:
        """All layers are left. Internal."""
        self._final = self.outcome
        self.error = None  # its traceback may well hold us

    def respond(self, reply: Any) -> None:
        """Answer a call that has one reply without going further in.

        What is inside of this interceptor does not run: neither other interceptors nor the call
        itself. The block still has to `yield`, and comes back from it at once.

        Raises:
            ProtocolError: The call streams its replies, or is answered already.
        """
        if self.cardinality.server_streaming:
            raise ProtocolError("an interceptor can only answer a call with one reply")
        if self.answered or self.left:
            raise ProtocolError("the call is answered already")
        self.answered = True
        self.reply = reply


class Layers:
    """Interceptors that were entered, for leaving them in the opposite order.

    As nested `async with` statements would, it hands each the exception that rises from inside,
    which it may let pass, replace or swallow. (`contextlib.AsyncExitStack` does the same at twice
    the cost, and could not tell each layer how the call had ended inside of it.)
    """

    __slots__ = ("_call", "_entered")

    def __init__(self, call: InterceptedCall) -> None:
        self._call = call
        self._entered: list[AbstractAsyncContextManager[object]] = []

    async def enter(
        self,
        interceptors: Sequence[Callable[[CallT], AbstractAsyncContextManager[object]]],
        call: CallT,
    ) -> None:
        """Enter them, the first one outermost, up to one that answers the call itself.

        What one of them raises comes out; those before it are to be left then.
        """
        for interceptor in interceptors:
            layer = interceptor(call)
            await layer.__aenter__()
            self._entered.append(layer)
            if call.answered:
                return

    async def leave(
        self, error: BaseException | None, *, keep: bool = False
    ) -> BaseException | None:
        """Leave them with what the call has raised; returns what comes out in the end.

        With `keep` an exception may be replaced but not swallowed.
        """
        call, entered = self._call, self._entered
        call.left = True
        while entered:
            layer = entered.pop()
            call.error = error
            try:
                if error is None:
                    await layer.__aexit__(None, None, None)
                elif await layer.__aexit__(type(error), error, error.__traceback__) and not keep:
                    error = None
            except BaseException as raised:
                error = raised
        call.error = error
        if error is not None:
            call.settle()
        return error


def outcome_of(error: BaseException) -> Outcome | None:
    """The outcome that an exception stands for by itself; None for a cancellation."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, GRPCError):
        if error.status is Status.OK:
            return Outcome(Status.UNKNOWN, f"the handler raised OK: {error.message}")
        return Outcome(error.status, error.message, error.details)
    if isinstance(error, Exception):
        return Outcome(Status.UNKNOWN, "Internal Server Error")
    return None


def through(hooks: Sequence[Hook], message: Any) -> Any:
    """What the hooks make of a message."""
    for hook in hooks:
        changed = hook(message)
        if changed is not None:
            message = changed
    return message
