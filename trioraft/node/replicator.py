"""A replicator: what a leader keeps running for one follower.

Two streams, entries and heartbeats, so that a heartbeat never queues behind data, and a
snapshot sender while the follower needs one. A stream is opened when there is something to send,
and kept until the group rests. A lost one is reopened with backoff; whatever was on it is
forgotten, because the core probes again.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from typing import Protocol

import trio

from trioraft.raft.messages import AppendReply, AppendRequest
from trioraft.raft.types import Member
from trioraft.storage.interface import GroupStorage

from .peers import AppendStream, PeerTransport, PeerUnreachableError
from .settings import RuntimeSettings
from .snapshots.sender import SnapshotEvents, SnapshotSender
from .wakeups import Doorbell

__all__ = ["Replicator", "ReplicatorEvents"]

logger = logging.getLogger(__name__)


class ReplicatorEvents(SnapshotEvents, Protocol):
    """What a replicator tells the driver; plain calls that never block."""

    def flush_later(self, flush: Callable[[], None]) -> None: ...

    def unreachable(self, follower: str) -> None: ...


class Replicator:
    """Lives in the leadership nursery; `run` ends only by cancellation."""

    def __init__(
        self,
        *,
        term: int,
        leader: str,
        follower: Member,
        transport: PeerTransport,
        storage: GroupStorage,
        events: ReplicatorEvents,
        settings: RuntimeSettings,
        rng: random.Random,
    ) -> None:
        self._follower = follower.id
        self._transport = transport
        self._events = events
        self._settings = settings
        self._entries = _Lane(heartbeat=False, rng=rng)
        self._heartbeats = _Lane(heartbeat=True, rng=rng)
        self._snapshots = SnapshotSender(
            term=term,
            leader=leader,
            follower=follower.id,
            transport=transport,
            storage=storage,
            events=events,
            settings=settings,
        )

    def post(self, request: AppendRequest) -> None:
        """Send a request at once if its stream takes it, else queue it for the stream.

        The core's window bounds the entries that queue; a heartbeat that has not been sent yet
        is replaced by the newer one, which says all it said.
        """
        lane = self._heartbeats if request.heartbeat else self._entries
        if not lane.outbox and lane.send_nowait(request):
            if lane.stream is not None:
                self._events.flush_later(lane.stream.flush)
            return
        if request.heartbeat:
            lane.outbox = [request]
        else:
            lane.outbox.append(request)
        lane.bell.ring()

    def post_snapshot(self) -> None:
        """Send the newest snapshot; the core asks again only after `snapshot_finished`."""
        self._snapshots.post()

    def rest(self) -> None:
        """Close the streams, if they are open, until the next `post`."""
        for lane in (self._entries, self._heartbeats):
            if lane.close() and not lane.heartbeat:  # something for a follower that is away
                self._events.unreachable(self._follower)

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_stream, self._entries)
            nursery.start_soon(self._keep_stream, self._heartbeats)
            nursery.start_soon(self._snapshots.run)

    # -- streams

    async def _keep_stream(self, lane: _Lane) -> None:
        """Open, use, reopen with exponential backoff and jitter."""
        settings = self._settings
        pause = settings.reconnect_min
        while True:
            while not lane.outbox:
                await lane.bell.wait()
            lane.answered = False
            with trio.CancelScope() as lane.scope:
                await self._use_stream(lane)
            lane.awaiting = 0
            if lane.scope.cancelled_caught:
                continue  # the group rests, or has been woken again since
            lane.outbox.clear()
            if not lane.heartbeat:
                self._events.unreachable(self._follower)
            if lane.answered:
                pause = settings.reconnect_min
            await trio.sleep(pause * lane.rng.uniform(0.5, 1.0))
            pause = min(pause * 2, settings.reconnect_max)

    async def _use_stream(self, lane: _Lane) -> None:
        """Open a stream and use it until it is lost, or the lane's scope is cancelled."""
        try:
            async with self._transport.open_append_stream(heartbeat=lane.heartbeat) as stream:
                lane.stream = stream
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._receive, stream, lane)
                    nursery.start_soon(self._watch, lane)
                    await self._send(stream, lane)
        except* PeerUnreachableError as group:
            lane.report(self._follower, group)
        finally:
            lane.stream = None

    async def _send(self, stream: AppendStream, lane: _Lane) -> None:
        while True:
            if not lane.outbox:
                await lane.bell.wait()
                continue
            # Taken out only once they are sent: meanwhile `post` must queue behind them.
            batch = list(lane.outbox)
            lane.count_sent(len(batch))
            await stream.send(batch)
            del lane.outbox[: len(batch)]

    async def _receive(self, stream: AppendStream, lane: _Lane) -> None:
        def take(replies: Sequence[AppendReply]) -> None:
            lane.answered = True
            lane.awaiting -= len(replies)
            lane.quiet_since = trio.current_time()
            self._events.append_replies(replies)

        await stream.receive(take)

    async def _watch(self, lane: _Lane) -> None:
        """Give up a peer that stays silent with requests unanswered."""
        timeout = self._settings.reply_timeout
        while True:
            seen = lane.sent
            await trio.sleep(timeout / 4)
            if lane.awaiting <= 0 and lane.sent == seen:
                await lane.wait_sent()  # a group at rest has no timers
            if lane.awaiting > 0 and trio.current_time() - lane.quiet_since >= timeout:
                raise PeerUnreachableError(
                    f"{self._follower}: {lane.awaiting} requests unanswered for {timeout} s"
                )


class _Lane:
    """The state of one of the two streams."""

    __slots__ = (
        "answered", "awaiting", "bell", "heartbeat", "outbox", "quiet_since", "rng", "scope",
        "sent", "sent_bell", "silent", "stream",
    )  # fmt: skip

    def __init__(self, *, heartbeat: bool, rng: random.Random) -> None:
        self.heartbeat = heartbeat
        self.rng = rng
        self.stream: AppendStream | None = None
        self.scope = trio.CancelScope()  # of the stream that is open, or is being opened
        self.outbox: list[AppendRequest] = []
        self.bell = Doorbell()
        self.sent = 0  # requests, ever
        self.sent_bell: Doorbell | None = None  # rung by the next one
        self.awaiting = 0  # requests sent on the open stream and not answered
        self.quiet_since = 0.0  # when the last reply came, or the first request that waits left
        self.answered = False
        self.silent = False  # said once in the log that the peer is away

    def close(self) -> bool:
        """Give the stream up for the time being; whether requests were dropped with it."""
        dropped = bool(self.outbox) or self.awaiting > 0
        self.stream = None
        self.outbox.clear()
        self.awaiting = 0
        self.scope.cancel()
        return dropped

    def send_nowait(self, request: AppendRequest) -> bool:
        if self.stream is None:
            return False
        try:
            if not self.stream.send_nowait(request):
                return False
        except PeerUnreachableError:
            return False  # the receiving task finds out too, and gives the stream up
        self.count_sent(1)
        return True

    def count_sent(self, count: int) -> None:
        if self.awaiting == 0:
            self.quiet_since = trio.current_time()
        self.awaiting += count
        self.sent += count
        if self.sent_bell is not None:
            self.sent_bell.ring()
            self.sent_bell = None

    async def wait_sent(self) -> None:
        """Wait for the next request. Cancelling is safe."""
        bell = self.sent_bell = Doorbell()
        await bell.wait()

    def report(self, follower: str, group: BaseExceptionGroup[PeerUnreachableError]) -> None:
        """Log the first failure after a success, not every attempt."""
        reasons = "; ".join(str(error) for error in _leaves(group))
        if self.answered:
            self.silent = False
        level = logging.DEBUG if self.silent or self.heartbeat else logging.INFO
        self.silent = True
        logger.log(level, "stream to %s lost, reconnecting: %s", follower, reasons)


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for child in error.exceptions for leaf in _leaves(child)]
    return [error]
