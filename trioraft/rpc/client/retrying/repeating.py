"""The attempts of a call: how they come and go, until the stream of one becomes the call's own.

Source: gRFC A6, "When Retries are Valid".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from trioraft.rpc.client.calls.stream import ClientStream
from trioraft.rpc.status import GRPCError, Status

from .attempt import Attempt, AttemptObserver, Fate
from .replay import Replay

if TYPE_CHECKING:
    from trioraft.rpc.client.config.plans import CallPlan
    from trioraft.rpc.client.connections.connection import ClientConnection

S = TypeVar("S")
R = TypeVar("R")


class RepeatingCall(ClientStream[S, R], ABC):
    """The part of a `RepeatedStream` that its attempts talk to. Internal."""

    #: Hears of the attempts, if there is one.
    attempts: AttemptObserver | None = None
    _plan: CallPlan
    _begun = False  # some attempt has had a stream
    _committed = False  # the stream of one of them is ours; or there is none and never will be
    _full = False  # no more can be kept: the next attempt that opens is the last
    _coming = 0  # attempts that are about to be made
    _made = 0  # attempts, without transparent retries
    _refused = False  # a server has refused one, which is forgiven once
    _until = float("inf")  # the deadline that servers are told
    _fields: Sequence[tuple[bytes, bytes]] = ()  # metadata, encoded
    _nursery: trio.Nursery | None = None
    _winner = 0  # the number of the attempt whose stream is ours

    def follow(self, plan: CallPlan) -> None:
        super().follow(plan)
        self._replayable = False  # not by the mechanism of calls without a policy
        self._plan = plan
        self._sent = Replay(self._limits.max_replay, plan.shared.account)
        self._open_attempts: list[Attempt] = []
        self._changed = trio.lowlevel.ParkingLot()
        self._scopes: list[trio.CancelScope] = []  # of tasks that make attempts

    # ---- what subclasses decide --------------------------------------------------------------

    @abstractmethod
    def _begin(self) -> None:
        """The first attempt is about to be made, by the task whose call this is."""

    @abstractmethod
    def _another(self, error: GRPCError, pushback: bytes | None) -> bool:
        """An attempt has failed: whether the call goes on without it."""

    # ---- tasks, until the call is settled ----------------------------------------------------

    def _start(self, work: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        """Run `work` in a task of the call's nursery."""
        assert self._nursery is not None
        self._nursery.start_soon(partial(self._until_settled, work, *arguments))

    async def _until_settled(self, work: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        if self._committed:
            return
        with trio.CancelScope() as scope:
            self._scopes.append(scope)
            await work(*arguments)
        if not self._committed:
            self._scopes.remove(scope)

    def _start_attempt(self, pause: float = 0.0, *, replaces: int = 0) -> None:
        """Have another attempt made, after a pause. Never waits.

        replaces: the number of one that no server has looked at: this is its transparent retry.
        """
        self._coming += 1
        self._start(self._come, pause, replaces)

    async def _come(self, pause: float, replaces: int) -> None:
        if pause > 0:
            await trio.sleep(pause)
        self._coming -= 1
        await self._try(replaces)

    async def _try(self, replaces: int = 0) -> None:
        """Open one more stream, once there is a connection for it."""
        if not replaces:
            self._made += 1
        attempt = Attempt(self, replaces or self._made, bool(replaces))
        self._open_attempts.append(attempt)
        while not self._committed:
            connection = self._channel.connector.ready
            if connection is None:
                try:
                    connection = await self._find_in_time()
                except GRPCError as error:
                    attempt.over = True
                    if not self.goes_on(attempt, error, None):
                        self.give_up(error)
                    return
                if connection is None:
                    return
            sent, ended = self._sent.messages, self._sent_end
            try:
                attempt.begin(connection, self._fields, self._until, sent, ended)
            except GRPCError:
                continue  # it has just come to take no more: the next one may
            self._opened(attempt)
            return

    async def _find_in_time(self) -> ClientConnection | None:
        """As `_find`; None if the call is settled in the moment in which there is a stream for it.

        A task that is about to run can not be cancelled any more.
        """
        connection = await self._find()
        if not self._committed:
            return connection
        self._channel.connector.pass_on()
        return None

    def _opened(self, attempt: Attempt) -> None:
        self._connection = attempt._connection
        if not self._sent_message:
            self._encoder = attempt._encoder
        if self._begun and self._channel.entry is not None:
            self._channel.entry.repeated()
        self._begun = True
        if self.attempts is not None:
            self.attempts.started(attempt.number, attempt.transparent)
        if self._full:
            self.commit(attempt)
        self._changed.unpark_all()

    def goes_on(self, attempt: Attempt, error: GRPCError, pushback: bytes | None) -> bool:
        """An attempt has failed: whether the call goes on without it."""
        if self._committed:
            return False
        self._open_attempts.remove(attempt)
        if self.attempts is not None and attempt._sent_request:
            self.attempts.ended(attempt.number, error.status)
        refused = attempt.fate is Fate.REFUSED and not self._refused
        if refused or attempt.fate is Fate.UNSENT:
            self._refused = self._refused or refused
            self._start_attempt(replaces=attempt.number)
            return True
        return self._another(error, pushback)

    def commit(self, attempt: Attempt) -> None:
        """The stream of this attempt is the call's own from here on; the others are stopped."""
        attempt.over = True
        if attempt in self._open_attempts:
            self._open_attempts.remove(attempt)
            self._winner = attempt.number
        self._settled()
        connection = self._connection = attempt._connection
        self._id = attempt._id
        self._queued = attempt._queued
        self._closed = attempt._closed
        self._reset_sent = attempt._reset_sent
        connection.calls[self._id] = self

    def give_up(self, error: GRPCError) -> None:
        """No attempt has succeeded, and there will be no other."""
        if self._committed:
            return
        self._failure = self._failure or error
        self._closed = True
        self._settled()
        self._wake_reader()

    def _settled(self) -> None:
        """No further attempts; those that are open are stopped, and nothing is kept."""
        if self._committed:
            return
        self._committed = True
        attempts, self._open_attempts = self._open_attempts, []
        for attempt in attempts:
            if attempt._sent_request:
                attempt.stop()
                if self.attempts is not None:
                    self.attempts.ended(attempt.number, Status.CANCELLED)
        scopes, self._scopes = self._scopes, []
        for scope in scopes:
            scope.cancel()
        self._sent.drop()
        self._changed.unpark_all()

    # ---- pushed in by the connection, once committed -----------------------------------------

    def _settle(self, outcome: GRPCError | Status) -> None:
        throttle = self._plan.shared.throttle
        if throttle is not None and outcome is Status.OK:
            throttle.succeeded()
        super()._settle(outcome)
