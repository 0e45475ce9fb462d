"""A channel: what stubs make their calls on. `options.py` has what it can be told."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack, cast

import trio
from grpclib.const import Cardinality
from multidict import MultiDict

from trioraft.rpc.compression import Compression
from trioraft.rpc.credentials import CallCredentials, attach, stays_here
from trioraft.rpc.interceptors.client_stream import InterceptedClientStream, intercepted
from trioraft.rpc.keywords import check_keywords
from trioraft.rpc.limits import Limits
from trioraft.rpc.metadata import MetadataLike
from trioraft.rpc.registry import ChannelEntry
from trioraft.rpc.status import GRPCError
from trioraft.rpc.timeout import Deadline
from trioraft.rpc.wire.timers import Timers

from .balancing import balancing_from
from .block import ChannelBlock
from .calls.stream import ClientStream
from .config.plans import CallPlans
from .config.service_config import parse_service_config
from .connections.connecting import connector_for, target_of
from .connections.connection import ClientConnection
from .options import ChannelOptions
from .view import ChannelView, StubChannel

if TYPE_CHECKING:
    from trioraft.rpc.interceptors.client import ClientInterceptor

    from .connections.connector import Connector

_MAX_CACHED_PATHS = 1024


class Channel(ChannelBlock, StubChannel):  # type: ignore[misc]
    """What stubs are made with. Shared by any number of tasks.

    Connects on the first call. Tasks of its connections live in a nursery that the `async with`
    block owns; leaving the block ends every call with UNAVAILABLE.
    """

    def __init__(self, target: str, **options: Unpack[ChannelOptions]) -> None:
        """A channel to `target`, for `async with`.

        Args:
            target: `host:port`, `dns:///host:port`, `ipv4:...`, `ipv6:...`, `unix:...`,
                `unix-abstract:...`; with `dial` or a `resolver`, any name.
            options: See `ChannelOptions`.

        Raises:
            TypeError: There is no such option.
            ValueError: The target cannot be parsed; an encoding or a policy is not known; `dial`
                together with `dial_address` or a `resolver`; `credentials` without TLS; a mistake
                in the service config, and where.
        """
        check_keywords("open_channel()", ChannelOptions, options)
        self.target = target
        self.compression: Compression = Compression.of(options.get("compression"))
        self._encoder = self.compression.choose(self.compression.send)
        #: Whether the deadlines of Trio scopes around a call are sent to its server.
        self.inherit_deadlines: bool = options.get("inherit_deadlines", True)
        #: What runs around every call, the first one outermost.
        self.interceptors: tuple[ClientInterceptor, ...] = tuple(options.get("interceptors", ()))
        self.limits: Limits = options.get("limits") or Limits()
        #: The source of randomness.
        self.rng: random.Random = options.get("rng") or random.Random()
        self.wait_for_ready: bool = options.get("wait_for_ready", False)
        parsed = target_of(target, options)
        self.connector: Connector = connector_for(target, parsed, options, self.limits, self.rng)
        self.connector.belong(self)
        self._connectivity = self.connector.connectivity
        self._retries = options.get("retries", True)
        self._checks_health = options.get("health_checks", True)
        #: What the service config says of calls, if there is one.
        self.plans: CallPlans | None = None
        service_config = options.get("service_config")
        if service_config is not None:
            self.configure(service_config)
        self.connector.on_service_config = self.configure
        #: `:authority` of the calls.
        self.authority: str = parsed.authority
        secure = options.get("ssl_context") is not None
        self._scheme = b"https" if secure else b"http"
        self._no_credentials = ""  # why not
        if not (secure or options.get("insecure_credentials", False) or stays_here(parsed)):
            self._no_credentials = "call credentials need TLS, or insecure_credentials=True"
        #: What is asked for metadata for every call.
        self.credentials = options.get("credentials", ())
        if self.credentials != ():
            if self._no_credentials:
                raise ValueError(self._no_credentials)
            self.interceptors += (attach(self.credentials, self.authority),)
        self._headers: dict[str, list[tuple[bytes, bytes]]] = {}
        self._registry = options.get("registry")
        self.entry: ChannelEntry | None = None
        self.timers: Timers = Timers()
        self._manager: Any = None
        self._nursery: trio.Nursery | None = None

    def __repr__(self) -> str:
        return f"<Channel to {self.target}>"

    def configure(self, service_config: str | Mapping[str, Any]) -> None:
        """Have calls made as this service config says, from the next one on.

        Raises:
            ValueError: It has a mistake; the message says where. What was, stays.
        """
        config = parse_service_config(service_config)
        if self.plans is not None and self.plans.config == config:
            return  # a resolver's, once more
        balancing = None
        if config.load_balancing is not None:
            balancing = balancing_from(config.load_balancing)
        self.plans = CallPlans(config, self.limits, self.plans, policies=self._retries)
        if balancing is not None:
            self.connector.balance(balancing)
        if self._checks_health:
            self.connector.check_health(config.health_check_service)

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
        compression: str | None = None,
        wait_for_ready: bool | None = None,
        credentials: CallCredentials | None = None,
    ) -> ClientStream[Any, Any]:
        """A call, for `async with`: nothing is sent before `send_request` or `send_message`.

        Args:
            name: Path of the method, `/package.Service/Method`.
            request_type: Class of the messages sent.
            reply_type: Class whose `FromString` decodes received messages; see also `Encoded`.
            timeout: Seconds from now until GRPCError(DEADLINE_EXCEEDED).
            deadline: The same as a point in time; the earlier of the two counts.
            metadata: Custom metadata, a mapping or pairs.
            compression: Encoding of the messages sent, `"identity"` for none, in place of the
                channel's. ValueError if it is not known.
            wait_for_ready: Whether the call waits while there is no connection and none to be
                had, until its deadline, instead of failing with UNAVAILABLE. None: as the channel.
            credentials: Asked for metadata besides those of the channel. Without TLS, and off this
                machine, the call gets UNAUTHENTICATED; see `insecure_credentials`.
        """
        if timeout is not None:
            own = Deadline.from_timeout(timeout)
            if deadline is None or own.at < deadline.at:
                deadline = own
        encoder = self._encoder if compression is None else self.compression.choose(compression)
        kind: type[ClientStream[Any, Any]] = ClientStream
        plan = None if self.plans is None else self.plans.of(name)
        if plan is not None:
            kind = plan.kind
            deadline = plan.deadline(deadline)
        if self.interceptors or credentials is not None:
            kind = intercepted(kind)
        stream = kind(
            self,
            name,
            cardinality,
            request_type,
            reply_type,
            MultiDict(metadata) if metadata else None,
            deadline,
        )
        if encoder is not None:
            stream.compress_with(encoder)
        if credentials is not None:
            innermost = attach(credentials, self.authority, self._no_credentials)
            cast("InterceptedClientStream[Any, Any]", stream).innermost = (innermost,)
        if wait_for_ready is not None:
            stream.wait_for_ready = wait_for_ready
        if plan is not None:
            stream.follow(plan)
        return stream

    def with_options(self, *, wait_for_ready: bool) -> ChannelView:
        """This channel with another default, for stubs whose methods have no such argument."""
        return ChannelView(self, wait_for_ready=wait_for_ready)

    def request_headers(self, path: str) -> list[tuple[bytes, bytes]]:
        """The headers that every call of a method has. Not to be changed."""
        headers = self._headers.get(path)
        if headers is None:
            headers = [
                (b":method", b"POST"),
                (b":scheme", self._scheme),
                (b":path", path.encode("ascii")),
                (b":authority", self.authority.encode()),
                (b"te", b"trailers"),
                (b"content-type", b"application/grpc"),
                (b"user-agent", b"grpc-python-trio/0.1"),
                self.compression.accept,
            ]
            if len(self._headers) < _MAX_CACHED_PATHS:
                self._headers[path] = headers
        return headers

    async def connection(self, wait_for_ready: bool | None = None) -> ClientConnection:
        """Wait for a connection with a free stream; `Picker.get` says how that goes.

        Cancelling it concerns no other call.

        Raises:
            GRPCError: UNAVAILABLE or RESOURCE_EXHAUSTED: there is none to be had.
            RuntimeError: Outside of the channel's `async with` block.
        """
        if self._nursery is None:
            raise RuntimeError("the channel is not open: use it inside `async with`")
        if wait_for_ready is None:
            wait_for_ready = self.wait_for_ready
        try:
            return await self.connector.get(wait_for_ready)
        except GRPCError:
            if self.entry is not None:
                self.entry.refused()
            raise


#: How channels are made: `async with open_channel("127.0.0.1:50051") as channel`.
open_channel = Channel
