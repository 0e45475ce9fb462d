"""Our client on foreign gRPC servers: the official grpcio, and grpclib on asyncio."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from _peers import scenarios
from _peers._gen.interop_grpc import InteropStub
from _peers._gen.interop_pb2 import Instruction
from _peers.certificates import client_context, have_openssl, make_certificate
from _peers.children import ServerChild, server_child
from _peers.ours import OurCaller

from trioraft.rpc import GRPCError, Status, open_channel

LIBRARIES = ["grpcio", "grpclib"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("servers")
    if have_openssl():
        make_certificate(path)
    return path


@pytest.fixture(scope="module", params=LIBRARIES)
def server(request: pytest.FixtureRequest, directory: Path) -> Iterator[ServerChild]:
    with server_child(request.param, directory) as child:
        yield child


@scenarios.parametrize()
async def test_our_client(server: ServerChild, scenario: scenarios.Scenario) -> None:
    async with open_channel(server.target) as channel:
        await scenario(OurCaller(channel))


async def test_over_a_unix_socket(server: ServerChild) -> None:
    async with open_channel(server.unix_target) as channel:
        await scenarios.metadata_both_ways(OurCaller(channel))
        await scenarios.large_messages(OurCaller(channel))


@pytest.mark.skipif(not have_openssl(), reason="no openssl program to make a certificate with")
async def test_over_tls(server: ServerChild, directory: Path) -> None:
    assert server.tls_target is not None
    context = client_context(directory)
    async with open_channel(server.tls_target, ssl_context=context) as channel:
        await scenarios.metadata_both_ways(OurCaller(channel))
        await scenarios.large_messages(OurCaller(channel))
        await scenarios.deadline_passes(OurCaller(channel))


async def test_generated_stub_methods(server: ServerChild) -> None:
    """grpclib's generated stub, called the short way, drives our channel unchanged."""
    async with open_channel(server.target) as channel:
        stub = InteropStub(channel)
        instructions = [Instruction(payload=b"%d" % n) for n in range(3)]
        assert (await stub.Unary(instructions[0])).payload == b"0"
        assert len(await stub.ServerStream(Instruction(reply_count=7))) == 7
        assert (await stub.ClientStream(instructions)).payload == b"012"
        assert [r.payload for r in await stub.Bidi(instructions)] == [b"0", b"1", b"2"]
        with pytest.raises(GRPCError) as caught:
            await stub.Unary(Instruction(status=5, status_message="nope"), timeout=5)
        assert (caught.value.status, caught.value.message) == (Status.NOT_FOUND, "nope")


async def test_a_trio_scope_is_the_deadline(server: ServerChild) -> None:
    async with open_channel(server.target) as channel:
        stub = InteropStub(channel)
        with trio.fail_after(7):
            assert 5 < (await stub.Unary(Instruction())).time_remaining <= 7
            assert 2 < (await stub.Unary(Instruction(), timeout=3)).time_remaining <= 3
        with trio.move_on_after(0.3) as scope:
            await stub.Unary(Instruction(call_id="scoped", wait=scenarios.LONG))
        assert scope.cancelled_caught
        await scenarios.expect_ending(OurCaller(channel), "scoped", b"cancelled")


async def test_status_details(tmp_path: Path) -> None:
    with server_child("grpcio", tmp_path) as server:
        async with open_channel(server.target) as channel:
            stub = InteropStub(channel)
            with pytest.raises(GRPCError) as caught:
                await stub.Unary(Instruction(status=9, details=b"\x08\x09\x12\x02\xc3\xa9"))
            assert caught.value.status is Status.FAILED_PRECONDITION
            assert caught.value.details == b"\x08\x09\x12\x02\xc3\xa9"


async def test_a_server_that_would_compress(tmp_path: Path) -> None:
    """Asked for a level, grpc-core compresses with what the client accepts."""
    with server_child("grpcio", tmp_path, "grpc.default_compression_level=2") as server:
        async with open_channel(server.target) as channel:
            await scenarios.large_messages(OurCaller(channel))
            await scenarios.server_stream(OurCaller(channel))


async def test_connections_that_the_server_ages_out(tmp_path: Path) -> None:
    """GOAWAY five times a second: no call notices."""
    aging = ["grpc.max_connection_age_ms=200", "grpc.max_connection_age_grace_ms=5000"]
    with server_child("grpcio", tmp_path, *aging) as server:
        async with open_channel(server.target) as channel:
            caller = OurCaller(channel)
            call = scenarios.call("Unary", Instruction(payload=b"x", wait=0.03))
            with trio.move_on_after(1.2):
                while True:
                    outcomes = await caller.run(*[call] * 10)
                    assert [outcome.only.payload for outcome in outcomes] == [b"x"] * 10


async def test_a_graceful_stop_lets_calls_end(tmp_path: Path) -> None:
    with server_child("grpcio", tmp_path) as server:
        async with open_channel(server.target) as channel, trio.open_nursery() as nursery:
            caller = OurCaller(channel)
            await scenarios.expect_alive(caller)

            async def stop_soon() -> None:
                await trio.sleep(0.3)
                server.stop()
                await trio.sleep(0.3)
                refused = await scenarios.only(caller, scenarios.call("Unary", Instruction()))
                assert refused.code == "UNAVAILABLE", refused.summary

            nursery.start_soon(stop_soon)
            slow = scenarios.call("Unary", Instruction(payload=b"in time", wait=1.0))
            assert (await scenarios.only(caller, slow)).only.payload == b"in time"


async def test_a_restarted_server_on_its_unix_socket(tmp_path: Path) -> None:
    with server_child("grpcio", tmp_path) as first:
        async with open_channel(first.unix_target) as channel:
            caller = OurCaller(channel)
            await scenarios.expect_alive(caller)
            first.kill()
            outcome = await scenarios.only(caller, scenarios.call("Unary", Instruction()))
            assert outcome.code == "UNAVAILABLE", outcome.summary
            with server_child("grpcio", tmp_path):
                await scenarios.expect_alive_soon(caller)


@pytest.mark.parametrize("library", LIBRARIES)
async def test_the_server_is_killed_during_calls(library: str, tmp_path: Path) -> None:
    with server_child(library, tmp_path) as server:
        async with open_channel(server.target) as channel, trio.open_nursery() as nursery:
            caller = OurCaller(channel)
            await scenarios.expect_alive(caller)

            async def kill_soon() -> None:
                await trio.sleep(0.5)
                server.kill()

            nursery.start_soon(kill_soon)
            waiting = Instruction(wait=scenarios.LONG)
            outcomes = await caller.run(
                *(scenarios.call(kind, waiting) for kind in scenarios.KINDS)
            )
            assert [outcome.code for outcome in outcomes] == ["UNAVAILABLE"] * 4
            after = await scenarios.only(caller, scenarios.call("Unary", Instruction()))
            assert after.code == "UNAVAILABLE", after.summary
