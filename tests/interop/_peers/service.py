"""The interop service on grpclib's generated base: one class for our server and for grpclib's.

The event loop's own pieces (sleep, events) are handed in; nothing else differs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from grpclib import GRPCError, Status

from ._gen.interop_grpc import InteropBase
from ._gen.interop_pb2 import Instruction, Reply


class Event(Protocol):
    """What trio.Event and asyncio.Event have in common."""

    def set(self) -> None: ...
    async def wait(self) -> Any: ...


class InteropService(InteropBase):
    """Does what the instructions say; see interop.proto."""

    def __init__(
        self, sleep: Callable[[float], Awaitable[None]], make_event: Callable[[], Event]
    ) -> None:
        self._sleep = sleep
        self._ended: dict[str, Event] = defaultdict(make_event)
        self._endings: dict[str, bytes] = {}

    async def Unary(self, stream: Any) -> None:
        instruction = await stream.recv_message()
        remaining = time_remaining(stream)
        async with self._call(stream, instruction):
            await self._wait_and_fail(instruction)
            await stream.send_message(reply_to(instruction, remaining, 1))
            await self._finish(stream, instruction)

    async def ServerStream(self, stream: Any) -> None:
        instruction = await stream.recv_message()
        remaining = time_remaining(stream)
        async with self._call(stream, instruction):
            for _ in range(instruction.reply_count):
                await stream.send_message(reply_to(instruction, remaining, 1))
            await self._wait_and_fail(instruction)
            await self._finish(stream, instruction)

    async def ClientStream(self, stream: Any) -> None:
        remaining = time_remaining(stream)
        last, received, payload = Instruction(), 0, b""
        async for instruction in stream:
            last, received, payload = instruction, received + 1, payload + instruction.payload
        async with self._call(stream, last):
            await self._wait_and_fail(last)
            joined = Instruction(payload=payload, reply_size=last.reply_size)
            await stream.send_message(reply_to(joined, remaining, received))
            await self._finish(stream, last)

    async def Bidi(self, stream: Any) -> None:
        remaining = time_remaining(stream)
        first = await stream.recv_message() or Instruction()
        last, received = first, 0
        async with self._call(stream, first):
            instruction: Instruction | None = first
            while instruction is not None and (received or first.ByteSize()):
                last, received = instruction, received + 1
                await stream.send_message(reply_to(instruction, remaining, received))
                instruction = await stream.recv_message()
            await self._wait_and_fail(last)
            await self._finish(stream, last)

    async def HowEnded(self, stream: Any) -> None:
        instruction = await stream.recv_message()
        await self._ended[instruction.call_id].wait()
        await stream.send_message(Reply(payload=self._endings[instruction.call_id]))

    @asynccontextmanager
    async def _call(self, stream: Any, instruction: Instruction) -> AsyncIterator[None]:
        """Sends the initial metadata asked for, and keeps how the call ended."""
        ending = b"cancelled"
        try:
            if initial := echoed(stream.metadata, "initial-"):
                await stream.send_initial_metadata(metadata=initial)
            yield
            ending = b"finished"
        except GRPCError as error:
            ending = b"finished"
            metadata = echoed(stream.metadata, "trailing-")
            if error.details is not None:
                # grpclib itself takes details only as messages of an optional package.
                raise
            await stream.send_trailing_metadata(
                status=error.status, status_message=error.message, metadata=metadata
            )
        finally:
            self._endings[instruction.call_id] = ending
            self._ended[instruction.call_id].set()

    async def _wait_and_fail(self, instruction: Instruction) -> None:
        if instruction.wait:
            await self._sleep(instruction.wait)
        if instruction.status:
            details = instruction.details or None
            raise GRPCError(Status(instruction.status), instruction.status_message, details)

    async def _finish(self, stream: Any, instruction: Instruction) -> None:
        metadata = echoed(stream.metadata, "trailing-")
        if instruction.trailer_size:
            metadata.append(("big", "x" * instruction.trailer_size))
        await stream.send_trailing_metadata(metadata=metadata)


def reply_to(instruction: Instruction, remaining: float, received: int) -> Reply:
    """The reply that an instruction asks for."""
    payload = bytes(instruction.reply_size) or instruction.payload
    return Reply(payload=payload, time_remaining=remaining, received=received)


def time_remaining(stream: Any) -> float:
    """Seconds until the call's deadline, -1 without one."""
    return float(stream.deadline.time_remaining()) if stream.deadline is not None else -1.0


def echoed(metadata: Any, prefix: str) -> list[tuple[str, str | bytes]]:
    """The request metadata to send back in one of the two places."""
    return [(key, value) for key, value in metadata.items() if key.startswith(prefix)]
