"""A proxy for any service: it knows no method and no message. `python server.py BACKEND`

Then, in place of the backend's address: `python ../greeter/client.py 127.0.0.1:50052 Ada`
"""

from __future__ import annotations

import argparse
from contextlib import suppress
from functools import partial

import trio
from multidict import MultiDict
from trioraft.rpc import (
    Cardinality,
    Channel,
    ClientStream,
    Encoded,
    GRPCError,
    Metadata,
    ServerStream,
    open_channel,
    serve,
)

Call = ServerStream[Encoded, bytes]


async def forward(backend: Channel, call: Call) -> None:
    """Make the same call of the backend, and hand everything on both ways, as it comes.

    What needs no code here: the caller's deadline holds for the backend's call, too, because that
    one is made inside of this handler; a caller that goes away cancels this handler and thereby
    the backend's; and a status that is not OK is raised here as GRPCError, with its details, and
    becomes the status of this handler.
    """
    kind = Cardinality.STREAM_STREAM  # as which any kind can be made
    async with backend.request(
        call.method_name, kind, Encoded, Encoded, metadata=_own(call.metadata)
    ) as onward:
        await onward.send_request()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_requests, call, onward)
            try:
                await onward.recv_initial_metadata()
                await call.send_initial_metadata(metadata=_own(onward.initial_metadata))
                async for reply in onward:
                    await call.send_message(Encoded(reply))
            finally:
                if onward.trailing_metadata is not None:
                    call.set_trailing_metadata(_own(onward.trailing_metadata))
            # The backend has said all: it may do so before it has heard all.
            nursery.cancel_scope.cancel()


async def _requests(call: Call, onward: ClientStream[Encoded, bytes]) -> None:
    async for request in call:
        with suppress(GRPCError):  # it is raised where the replies are taken, too
            await onward.send_message(Encoded(request))
    with suppress(GRPCError):
        await onward.end()


def _own(metadata: Metadata | None) -> Metadata:
    """What the application has said, without what the protocol adds."""
    found: Metadata = MultiDict()
    for key, value in (metadata or found).items():
        if not key.startswith("grpc-"):
            found.add(key, value)
    return found


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("backend", help="HOST:PORT, or any other target")
    parser.add_argument("--port", type=int, default=50052)
    arguments = parser.parse_args()
    async with open_channel(arguments.backend) as backend, trio.open_nursery() as nursery:
        [address] = await nursery.start(
            partial(serve, [], port=arguments.port, unknown=partial(forward, backend))
        )
        print(f"serving at {address[0]}:{address[1]}", flush=True)


if __name__ == "__main__":
    try:
        trio.run(main)
    except* KeyboardInterrupt:
        pass
