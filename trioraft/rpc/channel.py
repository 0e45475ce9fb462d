"""A channel: one connection to a server, made when first needed and again after loss."""

from __future__ import annotations

import logging
import random
import ssl
from types import TracebackType
from typing import TYPE_CHECKING, Any

import trio
from grpclib.const import Cardinality
from multidict import MultiDict

from .client_connection import ClientConnection
from .client_stream import ClientStream
from .limits import Limits
from .metadata import MetadataLike
from .status import GRPCError, Status
from .target import Dial, Target, connect, parse_target, secure
from .timeout import Deadline

log = logging.getLogger(__name__)

_GROWTH = 1.6
_JITTER = 0.2
_MAX_CACHED_PATHS = 1024


def open_channel(
    target: str,
    *,
    ssl_context: ssl.SSLContext | None = None,
    limits: Limits | None = None,
    dial: Dial | None = None,
    rng: random.Random | None = None,
) -> Channel:
    """A channel to `target`, for `async with`.

    Args:
        target: `host:port`, `ipv4:...`, `ipv6:...`, `dns:...`, `unix:...`; with `dial`, any name.
        ssl_context: TLS to the server; ALPN is set to `h2` on it.
        limits: Bounds; see `Limits`.
        dial: Opens the byte stream instead of the operating system's network.
        rng: Source of the jitter between attempts to connect.

    Raises:
        ValueError: The target cannot be parsed.
    """
    return Channel(target, ssl_context=ssl_context, limits=limits, dial=dial, rng=rng)


class _Attempt:
    """One attempt to connect, and those that wait for it."""

    def __init__(self) -> None:
        self.over = trio.Event()
        self.error: GRPCError | None = None


# Generated stubs annotate their channel as `grpclib.client.Channel`. Ours is none, and needs not be
# one at run time; an unknown base keeps type checkers of applications content.
if TYPE_CHECKING:
    _StubChannel = Any
else:
    _StubChannel = object


class Channel(_StubChannel):  # type: ignore[misc]
    """What stubs are made with. Shared by any number of tasks.

    Connects on the first call. Tasks of its connections live in a nursery that the `async with`
    block owns; leaving the block ends every call with UNAVAILABLE.
    """

    def __init__(
        self,
        target: str,
        *,
        ssl_context: ssl.SSLContext | None,
        limits: Limits | None,
        dial: Dial | None,
        rng: random.Random | None,
    ) -> None:
        self.target = target
        self.limits = limits or Limits()
        self._parsed = Target(target) if dial is not None else parse_target(target)
        self._dial = dial
        self._ssl_context = ssl_context
        self._rng = rng or random.Random()
        self._current: ClientConnection | None = None
        self._attempt: _Attempt | None = None
        self._latest: ClientConnection | None = None  # the last that came to be ready
        self._failures = 0  # since it
        self._retry_at = 0.0
        self._last_error: GRPCError | None = None
        self._headers: dict[str, list[tuple[bytes, bytes]]] = {}
        self._manager: Any = None
        self._nursery: trio.Nursery | None = None

    def __repr__(self) -> str:
        return f"<Channel to {self.target}>"

    # ---- the block ---------------------------------------------------------------------------

    async def __aenter__(self) -> Channel:
        if self._manager is not None:
            raise RuntimeError("this channel was opened already")
        self._manager = trio.open_nursery()
        self._nursery = await self._manager.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        nursery, self._nursery = self._nursery, None
        assert nursery is not None
        # The block's own exception must come out as it is, neither in the nursery's group nor, if
        # it is a cancellation, swallowed by the scope that we cancel: the nursery does not get to
        # see it. The shield is against a cancellation while we close, which takes no longer than
        # `Limits.close_timeout`.
        nursery.cancel_scope.shield = True
        nursery.cancel_scope.cancel()
        await self._manager.__aexit__(None, None, None)

    # ---- calls -------------------------------------------------------------------------------

    def request(
        self,
        name: str,
        cardinality: Cardinality,
        request_type: type[Any],
        reply_type: type[Any],
        *,
        timeout: float | None = None,
        deadline: Deadline | None = None,
        metadata: MetadataLike | None = None,
    ) -> ClientStream[Any, Any]:
        """A call, for `async with`: nothing is sent before `send_request` or `send_message`.

        Args:
            name: Path of the method, `/package.Service/Method`.
            request_type: Class of the messages sent.
            reply_type: Class whose `FromString` decodes received messages; see also `Encoded`.
            timeout: Seconds from now until GRPCError(DEADLINE_EXCEEDED).
            deadline: The same as a point in time; the earlier of the two counts.
            metadata: Custom metadata, a mapping or pairs.
        """
        if timeout is not None:
            own = Deadline.from_timeout(timeout)
            if deadline is None or own.at < deadline.at:
                deadline = own
        return ClientStream(
            self,
            name,
            cardinality,
            request_type,
            reply_type,
            MultiDict(metadata) if metadata else None,
            deadline,
        )

    def request_headers(self, path: str) -> list[tuple[bytes, bytes]]:
        """The headers that every call of a method has. Not to be changed."""
        headers = self._headers.get(path)
        if headers is None:
            scheme = b"http" if self._ssl_context is None else b"https"
            headers = [
                (b":method", b"POST"),
                (b":scheme", scheme),
                (b":path", path.encode("ascii")),
                (b":authority", self._parsed.authority.encode()),
                (b"te", b"trailers"),
                (b"content-type", b"application/grpc"),
                (b"user-agent", b"grpc-python-trio/0.1"),
            ]
            if len(self._headers) < _MAX_CACHED_PATHS:
                self._headers[path] = headers
        return headers

    # ---- the connection ----------------------------------------------------------------------

    @property
    def ready_connection(self) -> ClientConnection | None:
        """The connection, if a call can start on it right now."""
        current = self._current
        if current is not None and current.has_slot:
            return current
        return None

    async def connection(self) -> ClientConnection:
        """Wait for a connection with a free stream. Cancelling leaves the attempt to the others.

        Raises:
            GRPCError: UNAVAILABLE: the attempt failed, or a pause after a failed one is on.
            RuntimeError: Outside of the channel's `async with` block.
        """
        while True:
            if self._nursery is None:
                raise RuntimeError("the channel is not open: use it inside `async with`")
            current = self._current
            if current is None or not current.accepting:
                await self._connect(self._nursery)
                current = self._current
                if current is None or not current.accepting:
                    raise GRPCError(
                        Status.UNAVAILABLE, f"server {self.target} closed the connection at once"
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
        name = f"server {self.target}"
        connection: ClientConnection | None = None
        started = trio.current_time()
        try:
            stream = await self._open_stream(name)
            connection = ClientConnection(
                stream, self.limits, name, lambda ready: self._connected(attempt, ready)
            )
            spent = trio.current_time() - started
            await connection.run(max(0.0, self.limits.connect_timeout - spent))
            error = GRPCError(Status.UNAVAILABLE, connection.end_reason)
            if not attempt.over.is_set():
                self._failed(attempt, error)
            elif not connection.used:
                self._pause(error)  # a server that turns everybody away is no better than none
        except GRPCError as error:
            self._failed(attempt, error)
        except Exception:
            # Whatever this server made us stumble over must not end the application.
            log.exception("%s: the connection failed", name)
            self._failed(attempt, GRPCError(Status.UNAVAILABLE, f"{name}: internal error"))
        finally:
            if self._current is connection:
                self._current = None
            if not attempt.over.is_set():
                self._failed(attempt, GRPCError(Status.UNAVAILABLE, "the channel was closed"))

    async def _open_stream(self, name: str) -> trio.abc.Stream:
        timeout = self.limits.connect_timeout
        try:
            with trio.fail_after(timeout):
                stream = await (self._dial() if self._dial else connect(self._parsed))
                if self._ssl_context is not None:
                    return await secure(stream, self._ssl_context, self._parsed.server_name)
                return stream
        except trio.TooSlowError:
            reason = f"cannot connect within {timeout:g} s"
        except Exception as error:
            # `dial` is the application's: any failure of it is a failure to connect.
            reason = f"cannot connect: {error}"
        raise GRPCError(Status.UNAVAILABLE, f"{name}: {reason}")

    def _connected(self, attempt: _Attempt, connection: ClientConnection) -> None:
        self._current = self._latest = connection
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
        limits = self.limits
        if self._latest is not None and self._latest.used:
            self._failures = 0
            self._latest = None
        pause = min(limits.reconnect_max, limits.reconnect_min * _GROWTH ** min(self._failures, 64))
        pause *= self._rng.uniform(1 - _JITTER, 1 + _JITTER)
        self._failures += 1
        self._retry_at = trio.current_time() + pause
        self._last_error = error
        log.info("%s; next attempt not before %.2f s", error.message, pause)
