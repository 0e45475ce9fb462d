"""Foreign gRPC clients, the official grpcio and grpclib on asyncio, on our server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from _peers import scenarios
from _peers._gen.interop_pb2 import Instruction
from _peers.certificates import have_openssl, make_certificate
from _peers.children import ClientChild, client_child, server_child
from _peers.ours import our_server, our_tls_server, our_unix_server

LIBRARIES = ["grpcio", "grpclib"]


@pytest.fixture(scope="module", params=LIBRARIES)
def client(request: pytest.FixtureRequest) -> Iterator[ClientChild]:
    with client_child(request.param) as child:
        yield child


@scenarios.parametrize()
async def test_on_our_server(client: ClientChild, scenario: scenarios.Scenario) -> None:
    async with our_server() as server:
        await scenario(client.caller(server.target))
        assert server.listener.accepted == 1, "a failed call cost the connection"


async def test_too_many_request_headers(client: ClientChild) -> None:
    async with our_server() as server:
        caller = client.caller(server.target)
        big = [(f"initial-{n}", "x" * 7000) for n in range(10)]
        outcome = await scenarios.only(caller, scenarios.call("Unary", Instruction(), metadata=big))
        assert outcome.code == "RESOURCE_EXHAUSTED", outcome.summary
        await scenarios.expect_alive(caller)


async def test_status_details(client: ClientChild) -> None:
    async with our_server() as server:
        call = scenarios.call("Unary", Instruction(status=9, details=b"\x08\x09\x12\x02\xc3\xa9"))
        outcome = await scenarios.only(client.caller(server.target), call)
        assert outcome.code == "FAILED_PRECONDITION"
        assert scenarios.values(outcome.trailing, "grpc-status-details-bin") in (
            [b"\x08\x09\x12\x02\xc3\xa9"],
            [],  # grpclib hides it
        )


async def test_over_a_unix_socket(client: ClientChild, tmp_path: Path) -> None:
    async with our_unix_server(tmp_path / "s") as target:
        await scenarios.metadata_both_ways(client.caller(target))
        await scenarios.large_messages(client.caller(target))


@pytest.mark.skipif(not have_openssl(), reason="no openssl program to make a certificate with")
async def test_over_tls(client: ClientChild, tmp_path: Path) -> None:
    make_certificate(tmp_path)
    async with our_tls_server(tmp_path) as target:
        await scenarios.metadata_both_ways(client.caller(target, tmp_path))
        await scenarios.large_messages(client.caller(target, tmp_path))
        await scenarios.deadline_passes(client.caller(target, tmp_path))


async def test_compressed_requests() -> None:
    with client_child("grpcio", "grpc.default_compression_algorithm=2") as client:
        async with our_server() as server:
            await scenarios.large_messages(client.caller(server.target))


async def test_keepalive_pings_during_a_quiet_call() -> None:
    pings = ["grpc.keepalive_time_ms=100", "grpc.http2.max_pings_without_data=0"]
    with client_child("grpcio", *pings) as client:
        async with our_server() as server:
            call = scenarios.call("Unary", Instruction(payload=b"quiet", wait=1.0))
            outcome = await scenarios.only(client.caller(server.target), call)
            assert outcome.only.payload == b"quiet"
            assert server.listener.accepted == 1


async def test_our_server_comes_back_on_its_unix_socket(
    client: ClientChild, tmp_path: Path
) -> None:
    """A killed server leaves its socket file behind; the next one takes it over."""
    with server_child("trioraft", tmp_path) as first:
        caller = client.caller(first.unix_target)
        await scenarios.expect_alive(caller)
        first.kill()
        outcome = await scenarios.only(caller, scenarios.call("Unary", Instruction()))
        assert outcome.code == "UNAVAILABLE", outcome.summary
    with server_child("trioraft", tmp_path):
        await scenarios.expect_alive_soon(caller)


async def test_our_server_shuts_down_during_a_call(client: ClientChild) -> None:
    async with our_server() as server, trio.open_nursery() as nursery:
        caller = client.caller(server.target)
        await scenarios.expect_alive(caller)

        async def stop_soon() -> None:
            await trio.sleep(0.5)
            server.scope.cancel()

        nursery.start_soon(stop_soon)
        call = scenarios.call("Unary", Instruction(wait=scenarios.LONG))
        outcome = await scenarios.only(caller, call)
        assert outcome.code in ("UNAVAILABLE", "CANCELLED"), outcome.summary
        assert outcome.seconds < scenarios.SOON


async def test_our_server_is_killed_during_calls(client: ClientChild, tmp_path: Path) -> None:
    with server_child("trioraft", tmp_path) as server:
        caller = client.caller(server.target)
        await scenarios.expect_alive(caller)
        async with trio.open_nursery() as nursery:

            async def kill_soon() -> None:
                await trio.sleep(0.5)
                server.kill()

            nursery.start_soon(kill_soon)
            waiting = Instruction(wait=scenarios.LONG)
            outcomes = await caller.run(
                *(scenarios.call(kind, waiting) for kind in scenarios.KINDS)
            )
        assert [outcome.code for outcome in outcomes] == ["UNAVAILABLE"] * 4


@pytest.mark.parametrize("library", LIBRARIES)
async def test_the_client_is_killed_during_a_call(library: str) -> None:
    async with our_server() as server, trio.open_nursery() as nursery:
        with client_child(library) as doomed, client_child(library) as witness:

            async def call_and_die() -> None:
                call = scenarios.call("Unary", Instruction(call_id="orphan", wait=scenarios.LONG))
                with pytest.raises(RuntimeError, match="the peer ended"):
                    await doomed.caller(server.target).run(call)

            nursery.start_soon(call_and_die)
            await server.listener.first.wait()
            await trio.sleep(0.3)
            doomed.kill()
            await scenarios.expect_ending(witness.caller(server.target), "orphan", b"cancelled")
