"""A call that is opened while the server's GOAWAY is on its way goes to the next connection."""

from __future__ import annotations

import trio

from trioraft.rpc import Cardinality, Encoded, GRPCError, Limits, open_channel
from trioraft.rpc.wire.http2 import Connection, DataReceived, RequestReceived, server_engine
from trioraft.testing.network import LinkSettings, SimNetwork, SimStream
from trioraft.testing.scheduler import SeededRun, run_seeded

HEADERS = [(b":status", b"200"), (b"content-type", b"application/grpc")]


class AgingServer:
    """Answers every call, and leaves each connection 20 ms after it began, in two steps."""

    last = 0

    async def serve(self, stream: SimStream) -> None:
        engine = server_engine(Limits())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._age, engine, stream)
            while data := await stream.receive_some():
                engine.receive_data(data)
                for event in engine.events():
                    if isinstance(event, RequestReceived):
                        self.last = event.stream_id
                    elif isinstance(event, DataReceived) and event.end_stream:
                        engine.send_response(event.stream_id, HEADERS)
                        engine.send_data(event.stream_id, b"\0\0\0\0\2ok")
                        engine.send_trailers(event.stream_id, [(b"grpc-status", b"0")])
                await self._flush(engine, stream)
            nursery.cancel_scope.cancel()
        await stream.aclose()

    async def _age(self, engine: Connection, stream: SimStream) -> None:
        await trio.sleep(0.02)
        engine.send_shutdown_notice()
        await self._flush(engine, stream)
        await trio.sleep(0.05)  # more than a round trip: every call sent before the notice is here
        engine.send_goaway(last_stream_id=self.last)
        await self._flush(engine, stream)

    async def _flush(self, engine: Connection, stream: SimStream) -> None:
        if data := engine.data_to_send():
            await stream.send_all(data)


async def calls_while_connections_age(run: SeededRun) -> None:
    settings = LinkSettings(latency_min=0.001, latency_max=0.001)
    async with SimNetwork(run.rng("network"), settings) as network:
        async with trio.open_nursery() as nursery:
            listener = await network.listen("s:1")
            nursery.start_soon(trio.serve_listeners, lambda s: AgingServer().serve(s), [listener])

            async def dial() -> SimStream:
                return await network.dial("c", "s:1")

            async def call_often() -> None:
                for _ in range(200):
                    try:
                        async with channel.request(
                            "/A/B", Cardinality.UNARY_UNARY, Encoded, Encoded
                        ) as stream:
                            await stream.send_message(Encoded(b""), end=True)
                            assert await stream.recv_message() == b"ok"
                    except GRPCError as error:
                        raise AssertionError(f"at {trio.current_time()}: {error}") from error
                    # The beat of the arrivals, so that calls start in the pass that reads GOAWAY.
                    await trio.sleep(0.001)

            async with open_channel("s:1", dial=dial) as channel:
                async with trio.open_nursery() as callers:
                    for _ in range(5):
                        callers.start_soon(call_often)
            nursery.cancel_scope.cancel()


def test_no_call_notices_a_connection_that_ages() -> None:
    for seed in range(10):
        run_seeded(calls_while_connections_age, seed)
