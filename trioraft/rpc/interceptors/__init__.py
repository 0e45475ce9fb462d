"""Interceptors: async context managers around calls, of a server and of a channel.

    @asynccontextmanager
    async def timed(call: ServerCall) -> AsyncIterator[None]:
        started = trio.current_time()
        try:
            yield
        finally:
            print(call.method, call.outcome, trio.current_time() - started)

    await serve(services, interceptors=[timed])

The first one of a list is the outermost. docs/rpc-interceptors.md says what they can do.
"""

from .client import ClientCall, ClientInterceptor
from .onion import Hook, Outcome, Traffic
from .plain import End, plain
from .server import ServerCall, ServerInterceptor

__all__ = [
    "ClientCall",
    "ClientInterceptor",
    "End",
    "Hook",
    "Outcome",
    "ServerCall",
    "ServerInterceptor",
    "Traffic",
    "plain",
]
