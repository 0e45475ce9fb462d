"""dRPC over a real Unix socket, client and server."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest
import trio
from grpclib.client import UnaryUnaryMethod

from trioraft._proto.drpc.drpc_grpc import DRPCStub
from trioraft._proto.drpc.drpc_pb2 import Call, Response
from trioraft.drpc import (
    Caller,
    DrpcError,
    DrpcFailure,
    DrpcProtocolError,
    DrpcUnavailableError,
    MarshalError,
    Module,
    SocketFileError,
    UnknownMethodError,
    UnknownModuleError,
    open_drpc,
    serve_drpc,
    typed,
)
from trioraft.rpc import Encoded, GRPCError, Status, open_channel, serve


async def echo(body: bytes, caller: Caller) -> bytes:
    return body


async def who(body: bytes, caller: Caller) -> bytes:
    return f"{caller.pid} {caller.uid} {caller.gid}".encode()


async def fail(body: bytes, caller: Caller) -> bytes:
    raise DrpcFailure("no luck")


async def add_one(request: Call, caller: Caller) -> Call:
    return Call(module=request.module + 1)


class Slow:
    """A method that tells when it is running and when it was cancelled."""

    def __init__(self) -> None:
        self.started = trio.Event()
        self.cancelled = trio.Event()

    async def __call__(self, body: bytes, caller: Caller) -> bytes:
        self.started.set()
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled.set()
        return b""


async def garbage(body: bytes, caller: Caller) -> bytes:
    return b"\xff"


TEST = Module(1, "test", {101: echo, 102: who, 103: fail, 104: typed(Call, add_one), 105: garbage})


@pytest.fixture
async def path(tmp_path: Path, nursery: trio.Nursery) -> Path:
    where = tmp_path / "drpc.sock"
    await nursery.start(partial(serve_drpc, [TEST], path=where))
    return where


async def test_calls_and_failures(path: Path) -> None:
    async with open_drpc(path) as client:
        assert await client.call(1, 101, b"hello") == b"hello"
        assert await client.call(1, 101) == b""
        with pytest.raises(UnknownModuleError):
            await client.call(2, 101)
        with pytest.raises(UnknownMethodError):
            await client.call(1, 199)
        with pytest.raises(DrpcFailure, match="its log says why"):
            await client.call(1, 103)
        assert await client.call(1, 101, b"still here") == b"still here"


async def test_typed_calls(path: Path) -> None:
    async with open_drpc(path) as client:
        reply = await client.call_message(1, 104, Call(module=1), Call)
        assert reply.module == 2
        with pytest.raises(MarshalError, match="not a Call"):
            await client.call_message(1, 105, Call(), Call)


async def test_the_kernel_says_who_calls(path: Path) -> None:
    async with open_drpc(path) as client:
        assert await client.call(1, 102) == f"{os.getpid()} {os.getuid()} {os.getgid()}".encode()


async def test_the_generated_stub_works_too(path: Path) -> None:
    async with open_channel(f"unix:{path}") as channel:
        response = await DRPCStub(channel).Call(Call(module=1, method=101, sequence=9, body=b"x"))
        assert response == Response(sequence=9, body=b"x")


async def test_undecodable_calls_get_a_response(path: Path) -> None:
    async with open_channel(f"unix:{path}") as channel:
        raw = UnaryUnaryMethod(channel, "/drpc.DRPC/Call", Encoded, Encoded)  # type: ignore[arg-type]
        answer = await raw(Encoded(b"\xff\xff"))
        assert bytes(answer).hex(" ") == "08 ff ff ff ff ff ff ff ff ff 01 10 05"


async def test_messages_beyond_four_mebibytes_and_the_limit(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    where = tmp_path / "small.sock"
    await nursery.start(partial(serve_drpc, [TEST], path=where, max_message=6 << 20))
    async with open_drpc(where) as client:
        body = bytes(5 << 20)
        assert await client.call(1, 101, body) == body
        with pytest.raises(DrpcError, match="message too large"):
            await client.call(1, 101, bytes(7 << 20))
        assert await client.call(1, 101, b"small") == b"small"


async def test_one_call_at_a_time_unless_told_otherwise(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    running = 0
    most = 0

    async def count(body: bytes, caller: Caller) -> bytes:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(0.01)
        running -= 1
        return b""

    where = tmp_path / "count.sock"
    await nursery.start(partial(serve_drpc, [Module(1, "count", {1: count})], path=where))
    for concurrent, expected in ((False, 1), (True, 5)):
        most = 0
        async with open_drpc(where, concurrent=concurrent) as client, trio.open_nursery() as calls:
            for _ in range(5):
                calls.start_soon(client.call, 1, 1)
        assert most == expected


async def test_giving_up_cancels_the_handler(tmp_path: Path, nursery: trio.Nursery) -> None:
    slow = Slow()
    where = tmp_path / "slow.sock"
    await nursery.start(partial(serve_drpc, [Module(1, "slow", {1: slow})], path=where))
    async with open_drpc(where) as client, trio.open_nursery() as calls:
        calls.start_soon(client.call, 1, 1)
        await slow.started.wait()
        calls.cancel_scope.cancel()
    with trio.fail_after(2):
        await slow.cancelled.wait()


async def test_nobody_there(tmp_path: Path) -> None:
    async with open_drpc(tmp_path / "none.sock") as client:
        with pytest.raises(DrpcUnavailableError, match=r"none\.sock: no dRPC server answers"):
            await client.call(1, 1)


async def test_the_server_going_away(tmp_path: Path) -> None:
    slow = Slow()
    where = tmp_path / "s.sock"
    async with trio.open_nursery() as server, open_drpc(where) as client:
        await server.start(partial(serve_drpc, [Module(1, "slow", {1: slow})], path=where))

        async def stop() -> None:
            await slow.started.wait()
            server.cancel_scope.cancel()

        async def call() -> None:
            with pytest.raises(DrpcUnavailableError):
                await client.call(1, 1)

        # The caller must outlive the server's scope.
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as both:
                both.start_soon(stop)
                both.start_soon(call)
    assert not where.exists()


async def test_a_second_server_is_refused(path: Path) -> None:
    with pytest.raises(SocketFileError, match="already in use"):
        await serve_drpc([TEST], path=path)


@pytest.mark.parametrize(
    "answer",
    [b"\xff\xff", Response(sequence=99).SerializeToString(), b""],
    ids=["undecodable", "wrong sequence", "no sequence"],
)
async def test_wrong_answers(tmp_path: Path, nursery: trio.Nursery, answer: bytes) -> None:
    from grpclib.const import Cardinality, Handler

    class Wrong:
        async def call(self, stream) -> None:  # type: ignore[no-untyped-def]
            await stream.recv_message()
            await stream.send_message(Encoded(answer))

        def __mapping__(self) -> dict[str, Handler]:
            return {
                "/drpc.DRPC/Call": Handler(self.call, Cardinality.UNARY_UNARY, Encoded, Encoded)
            }

    where = tmp_path / "wrong.sock"
    await nursery.start(partial(serve, [Wrong()], uds=str(where)))
    async with open_drpc(where) as client:
        with pytest.raises(DrpcProtocolError):
            await client.call(1, 1)


async def test_a_server_of_something_else(tmp_path: Path, nursery: trio.Nursery) -> None:
    class Nothing:
        def __mapping__(self) -> dict[str, object]:
            return {}

    where = tmp_path / "other.sock"
    await nursery.start(partial(serve, [Nothing()], uds=str(where)))
    async with open_drpc(where) as client:
        with pytest.raises(DrpcProtocolError, match="UNIMPLEMENTED"):
            await client.call(1, 1)
    async with open_channel(f"unix:{where}") as channel:
        with pytest.raises(GRPCError) as caught:
            await DRPCStub(channel).Call(Call())
        assert caught.value.status is Status.UNIMPLEMENTED
