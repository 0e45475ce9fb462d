"""What a server offers: services, their methods and interceptors, methods tried without a task."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self, TypeAlias, runtime_checkable

from grpclib.const import Cardinality, Handler

from trioraft.rpc.interceptors.server import ServerInterceptor
from trioraft.rpc.interceptors.server_stream import InterceptedStream, intercepted
from trioraft.rpc.wire.framing import Encoded

from .in_place import InPlaceCall
from .stream import ServerStream
from .unknown import MethodsAndMore, UnknownHandler

__all__ = [
    "InPlace",
    "InPlaceHandler",
    "Intercepted",
    "Limited",
    "Method",
    "Methods",
    "Service",
    "Stoppable",
    "Unawaited",
    "has_unawaited",
    "methods_of",
    "tell_stopping",
]


class Service(Protocol):
    """What `serve` serves: every service base that grpclib's plugin generates is one."""

    def __mapping__(self) -> dict[str, Handler]: ...


@runtime_checkable
class Stoppable(Protocol):
    """A service that is told when its server begins to stop, before anything else happens.

    One with long streams can end them then; what does not end by itself is cut off after the
    grace period.
    """

    def stopping(self) -> None:
        """The server is about to stop. Must not wait or raise."""


InPlace: TypeAlias = Callable[[InPlaceCall[Any, Any], Any], bool]


class InPlaceHandler(Handler):
    """A unary handler that is first tried in place, by the task that has read the request.

    A task costs more than many a call does. `in_place(call, request)` is a plain function that
    must be quick and must not wait. It either takes the call over and returns True: then
    `call.respond` or `call.fail` is called, now or later, by whoever has the answer, or
    `call.run_handler` if the coroutine `func` is to do it after all. Or it returns False, having
    done nothing: then `func` runs in a task, as for any other handler. What it raises ends the
    call as if `func` had raised it.

    `request` is what `FromString` of the request type gives. The call's deadline holds for it too,
    to about a quarter of a second.

    A method that has interceptors is not tried in place: `func` always runs, inside of them.
    """

    in_place: InPlace

    def __new__(
        cls,
        func: Callable[[Any], Any],
        request_type: type[Any],
        reply_type: type[Any],
        in_place: InPlace,
    ) -> Self:
        self = super().__new__(cls, func, Cardinality.UNARY_UNARY, request_type, reply_type)
        self.in_place = in_place
        return self


class Limited:
    """A service whose requests have a size limit of their own, larger or smaller than the rest.

    max_receive_message: bytes, in place of `Limits.max_receive_message`.
    """

    def __init__(self, service: Service, max_receive_message: int) -> None:
        if not 0 <= max_receive_message < 2**32:
            raise ValueError("max_receive_message must be between 0 and 2**32 - 1")
        self.service = service
        self.max_receive_message = max_receive_message

    def __mapping__(self) -> dict[str, Handler]:
        return self.service.__mapping__()


class Intercepted:
    """A service with interceptors of its own, inside of those of the server.

    interceptors: The first one is the outermost.
    """

    def __init__(self, service: Service, interceptors: Sequence[ServerInterceptor]) -> None:
        self.service = service
        self.interceptors: tuple[ServerInterceptor, ...] = tuple(interceptors)

    def __mapping__(self) -> dict[str, Handler]:
        return self.service.__mapping__()


class Unawaited:
    """A service whose calls a stop in good order does not wait for.

    They go on while any other call is open on the server, whichever connection that is on, because
    it may need them. When there is none, they end with UNAVAILABLE, and the server with them.
    """

    def __init__(self, service: Service) -> None:
        self.service = service

    def __mapping__(self) -> dict[str, Handler]:
        return self.service.__mapping__()


_Wrapper: TypeAlias = Limited | Intercepted | Unawaited


@dataclass(frozen=True, slots=True)
class Method:
    """A method as the server keeps it; `path` is `/package.Service/Method`."""

    path: str
    handler: Handler
    max_receive_message: int
    in_place: InPlace | None
    stream: type[ServerStream[Any, Any]]  # what its calls are
    registered: bool = True  # some service has it; if not, a caller has made it up
    awaited: bool = True  # by a stop in good order


class Methods(Protocol):
    """What a server offers. A dictionary is such."""

    def get(self, path: bytes, /) -> Method | None:
        """The method of this path, as it is on the wire."""


def methods_of(
    services: Collection[Service],
    max_receive_message: int,
    interceptors: Sequence[ServerInterceptor] = (),
    unknown: UnknownHandler | None = None,
) -> Methods:
    """Everything that `services` offer, and `unknown` for what they do not.

    Raises:
        TypeError: They are no list of services; it says what they are.
        ValueError: Two of them offer the same method.
    """
    if hasattr(services, "__mapping__"):
        raise TypeError("services must be a list, of one if there is only one: [service]")
    methods: dict[bytes, Method] = {}
    for service in services:
        limit, around = max_receive_message, list(interceptors)
        limited, awaited = False, True
        for layer in _layers(service):
            if isinstance(layer, Intercepted):
                around += layer.interceptors
            elif isinstance(layer, Unawaited):
                awaited = False
            elif isinstance(layer, Limited) and not limited:  # the outermost counts
                limit, limited = layer.max_receive_message, True
            _check(layer)
        for path, handler in service.__mapping__().items():
            name = path.encode("ascii")
            if name in methods:
                raise ValueError(f"two services offer {path}")
            method = _method(path, handler, limit, tuple(around))
            methods[name] = method if awaited else replace(method, awaited=False)
    if unknown is None:
        return methods
    every = Handler(unknown, Cardinality.STREAM_STREAM, Encoded, Encoded)

    def unregistered(path: str) -> Method:
        method = _method(path, every, max_receive_message, tuple(interceptors))
        return replace(method, registered=False)

    return MethodsAndMore(methods, unregistered)


def tell_stopping(services: Collection[Service]) -> None:
    """Tell those that want to know that their server is about to stop."""
    for service in services:
        for layer in _layers(service):
            if isinstance(layer, Stoppable):
                layer.stopping()


def has_unawaited(services: Collection[Service]) -> bool:
    """Whether a stop does not wait for some of them."""
    return any(isinstance(layer, Unawaited) for service in services for layer in _layers(service))


def _check(service: object) -> None:
    """Raises TypeError, which says what to do, for what cannot be a service."""
    if isinstance(service, type):
        raise TypeError(f"{service.__name__} is a class: serve an instance, {service.__name__}()")
    if not hasattr(service, "__mapping__"):
        raise TypeError(f"{service!r} is no service: derive its class from a generated ...Base")


def _layers(service: Service) -> Iterator[Service]:
    """A service and what is wrapped in it, from the outside in."""
    while isinstance(service, _Wrapper):
        yield service
        service = service.service
    yield service


def _method(
    path: str, handler: Handler, limit: int, interceptors: Sequence[ServerInterceptor]
) -> Method:
    if interceptors:
        return Method(path, intercepted(handler, interceptors), limit, None, InterceptedStream)
    if isinstance(handler, InPlaceHandler):
        return Method(path, handler, limit, handler.in_place, InPlaceCall)
    return Method(path, handler, limit, None, ServerStream)
