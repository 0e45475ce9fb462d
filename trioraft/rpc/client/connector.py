"""Holding a connection: made when first needed, again after loss, with pauses after failures.

The pauses follow gRPC's connection backoff (connection-backoff.md): they grow by a factor with each
failure, with jitter, up to a bound; calls made during one fail at once.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable

import trio

from trioraft.rpc.limits import Limits
from trioraft.rpc.registry import Entry, State, registered
from trioraft.rpc.status import GRPCError, Status

from .connection import ClientConnection

log = logging.getLogger(__name__)

_GROWTH = 1.6
_JITTER = 0.2


class _Attempt:
    """One attempt to connect, and those that wait for it."""

    def __init__(self) -> None:
        self.over = trio.Event()
        self.error: GRPCError | None = None


class Connector:
    """The one connection of a channel, shared by all its calls."""

    def __init__(
        self,
        name: str,
        open_stream: Callable[[], Awaitable[trio.abc.Stream]],
        limits: Limits,
        rng: random.Random,
    ) -> None:
        self._name = name
        self._open_stream = open_stream
        self._limits = limits
        self._rng = rng
        #: The connection that new calls use, if there is one.
        self.current: ClientConnection | None = None
        #: Where connections are registered, if they are.
        self.entry: Entry | None = None
        self._attempt: _Attempt | None = None
        self._latest: ClientConnection | None = None  # the last that came to be ready
        self._failures = 0  # since it
        self._retry_at = 0.0
        self._last_error: GRPCError | None = None

    @property
    def ready(self) -> ClientConnection | None:
        """The connection, if a call can start on it right now."""
        current = self.current
        if current is not None and current.has_slot:
            return current
        return None

    @property
    def state(self) -> State:
        """Connectivity, in gRPC's words (connectivity-semantics-and-api.md)."""
        if self.current is not None and self.current.accepting:
            return "READY"
        if self._attempt is not None:
            return "CONNECTING"
        paused = self._last_error is not None and self._retry_at > trio.current_time()
        return "TRANSIENT_FAILURE" if paused else "IDLE"

    async def get(self, nursery: trio.Nursery) -> ClientConnection:
        """Wait for a connection with a free stream. Cancelling leaves the attempt to the others.

        Raises:
            GRPCError: UNAVAILABLE: the attempt failed, or a pause after a failed one is on.
        """
        while True:
            current = self.current
            if current is None or not current.accepting:
                await self._connect(nursery)
                current = self.current
                if current is None or not current.accepting:
                    raise GRPCError(
                        Status.UNAVAILABLE, f"{self._name} closed the connection at once"
                    )
            await current.slot()
            if current.accepting:
                return current

    async def _connect(self, nursery: trio.Nursery) -> None:
        attempt = self._attempt
        if attempt is None:
            self._refuse_in_pause()
            attempt = self._attempt = _Attempt()
            nursery.start_soon(self._hold_connection, attempt)
        await attempt.over.wait()
        if attempt.error is not None:
            raise GRPCError(attempt.error.status, attempt.error.message)

    def _refuse_in_pause(self) -> None:
        pause = self._retry_at - trio.current_time()
        if self._last_error is not None and pause > 0:
            raise GRPCError(
                Status.UNAVAILABLE,
                f"{self._last_error.message} (next attempt in {pause:.1f} s)",
            )

    async def _hold_connection(self, attempt: _Attempt) -> None:
        """Task: connect and run one connection until it ends."""
        connection: ClientConnection | None = None
        started = trio.current_time()
        try:
            stream = await self._open_within_limit()
            connection = ClientConnection(
                stream, self._limits, self._name, lambda ready: self._connected(attempt, ready)
            )
            spent = trio.current_time() - started
            with registered(self.entry, connection):
                await connection.run(max(0.0, self._limits.connect_timeout - spent))
            error = GRPCError(Status.UNAVAILABLE, connection.end_reason)
            if not attempt.over.is_set():
                self._failed(attempt, error)
            elif not connection.used:
                self._pause(error)  # a server that turns everybody away is no better than none
        except GRPCError as error:
            self._failed(attempt, error)
        except Exception:
            # Whatever this server made us stumble over must not end the application.
            log.exception("%s: the connection failed", self._name)
            self._failed(attempt, GRPCError(Status.UNAVAILABLE, f"{self._name}: internal error"))
        finally:
            if self.current is connection:
                self.current = None
            if not attempt.over.is_set():
                self._failed(attempt, GRPCError(Status.UNAVAILABLE, "the channel was closed"))

    async def _open_within_limit(self) -> trio.abc.Stream:
        timeout = self._limits.connect_timeout
        try:
            with trio.fail_after(timeout):
                return await self._open_stream()
        except trio.TooSlowError:
            reason = f"cannot connect within {timeout:g} s"
        except Exception as error:
            # `dial` is the application's: any failure of it is a failure to connect.
            reason = f"cannot connect: {error}"
        raise GRPCError(Status.UNAVAILABLE, f"{self._name}: {reason}")

    def _connected(self, attempt: _Attempt, connection: ClientConnection) -> None:
        self.current = self._latest = connection
        self._attempt = None
        attempt.over.set()

    def _failed(self, attempt: _Attempt, error: GRPCError) -> None:
        """The attempt ended without a connection: begin a pause and tell those that wait."""
        if attempt.over.is_set():
            return
        attempt.error = error
        self._pause(error)
        self._attempt = None
        attempt.over.set()

    def _pause(self, error: GRPCError) -> None:
        """No further attempt for a while, the longer the more have failed."""
        limits = self._limits
        if self._latest is not None and self._latest.used:
            self._failures = 0
            self._latest = None
        pause = min(limits.reconnect_max, limits.reconnect_min * _GROWTH ** min(self._failures, 64))
        pause *= self._rng.uniform(1 - _JITTER, 1 + _JITTER)
        self._failures += 1
        self._retry_at = trio.current_time() + pause
        self._last_error = error
        log.info("%s; next attempt not before %.2f s", error.message, pause)
