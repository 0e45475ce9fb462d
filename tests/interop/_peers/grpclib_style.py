"""Making a call through grpclib's client interface, which our channel has too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from grpclib import GRPCError
from grpclib.const import Cardinality

from ._gen.interop_pb2 import Instruction, Reply
from .model import METHODS, SERVICE, Call, Outcome

CARDINALITIES = {cardinality.value: cardinality for cardinality in Cardinality}


class Exchange:
    """One call on a channel of either library, and what has been seen of it."""

    def __init__(self, channel: Any, call: Call, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._call = call
        self._sleep = sleep
        self._stream = channel.request(
            SERVICE + call.method,
            CARDINALITIES[METHODS[call.method]],
            Instruction,
            Reply,
            timeout=call.timeout,
            metadata=list(call.metadata),
        )
        self._replies: list[bytes] = []

    async def run(self) -> tuple[str, str]:
        """Status by name, and message.

        Raises what the library does for cancellation and timeouts.
        """
        try:
            async with self._stream as stream:
                await self._send(stream)
                await stream.recv_initial_metadata()
                if self._call.pause:
                    await self._sleep(self._call.pause)
                while (reply := await stream.recv_message()) is not None:
                    self._replies.append(reply.SerializeToString())
                    if len(self._replies) == self._call.cancel_after_replies:
                        await stream.cancel()
                        return "CANCELLED", "cancelled by the client"
                await stream.recv_trailing_metadata()
        except GRPCError as error:
            return error.status.name, error.message or ""
        return "OK", ""

    async def _send(self, stream: Any) -> None:
        requests = [Instruction.FromString(raw) for raw in self._call.requests]
        await stream.send_request()
        for number, request in enumerate(requests, start=1):
            await stream.send_message(request, end=number == len(requests))
        if not requests:
            await stream.end()

    def outcome(self, code: str, message: str, seconds: float) -> Outcome:
        """Everything seen so far."""
        return Outcome(
            code=code,
            message=message,
            replies=self._replies,
            initial=tuple((self._stream.initial_metadata or {}).items()),
            trailing=tuple((self._stream.trailing_metadata or {}).items()),
            seconds=seconds,
        )
