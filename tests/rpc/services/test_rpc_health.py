"""The health service, asked by our own stubs and by grpcio's."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest
import trio
from echo_service import in_memory, serving
from grpc_health.v1 import health_pb2 as official
from grpc_health.v1 import health_pb2_grpc

from trioraft._proto.grpc.health_grpc import HealthStub
from trioraft._proto.grpc.health_pb2 import (
    HealthCheckRequest,
    HealthCheckResponse,
    HealthListRequest,
)
from trioraft.rpc import GRPCError, Limits, Status
from trioraft.rpc.services import HealthService, ServingStatus

SERVING, NOT_SERVING = ServingStatus.SERVING, ServingStatus.NOT_SERVING
SERVICE_UNKNOWN = ServingStatus.SERVICE_UNKNOWN


@pytest.fixture
def health() -> HealthService:
    return HealthService(max_watchers=3)


@pytest.fixture
async def stub(health: HealthService) -> AsyncIterator[HealthStub]:
    async with in_memory([health]) as (channel, _):
        yield HealthStub(channel)


async def ask(stub: HealthStub, service: str = "") -> int:
    return (await stub.Check(HealthCheckRequest(service=service))).status


async def open_watch(
    stub: HealthStub, service: str, seen: list[int], *, task_status: trio.TaskStatus[object]
) -> None:
    """Task: note every status that Watch tells; cancelled by whoever has its scope."""
    with trio.CancelScope() as scope:
        async with stub.Watch.open() as stream:
            await stream.send_message(HealthCheckRequest(service=service), end=True)
            seen.append((await stream.recv_message()).status)
            task_status.started(scope)
            while (reply := await stream.recv_message()) is not None:
                seen.append(reply.status)


async def test_check(health: HealthService, stub: HealthStub, autojump_clock: object) -> None:
    assert await ask(stub) == SERVING
    health.set("a.B", NOT_SERVING)
    assert await ask(stub, "a.B") == NOT_SERVING
    health.set("a.B", ServingStatus.UNKNOWN)
    assert await ask(stub, "a.B") == ServingStatus.UNKNOWN
    for unknown in ("a", "x" * 100_000):
        with pytest.raises(GRPCError) as caught:
            await ask(stub, unknown)
        assert caught.value.status is Status.NOT_FOUND
    health.remove("a.B")
    with pytest.raises(GRPCError, match="unknown service"):
        await ask(stub, "a.B")
    health.remove("a.B")
    health.remove("")
    with pytest.raises(GRPCError, match="unknown service"):
        await ask(stub)


async def test_list(health: HealthService, stub: HealthStub, autojump_clock: object) -> None:
    health.set("a.B", NOT_SERVING)
    reply = await stub.List(HealthListRequest())
    assert {name: entry.status for name, entry in reply.statuses.items()} == {
        "": SERVING,
        "a.B": NOT_SERVING,
    }
    for number in range(98):
        health.set(f"s{number}", SERVING)
    assert len((await stub.List(HealthListRequest())).statuses) == 100
    health.set("one.more", SERVING)
    with pytest.raises(GRPCError) as caught:
        await stub.List(HealthListRequest())
    assert caught.value.status is Status.RESOURCE_EXHAUSTED


async def test_watch_tells_each_change_once(
    health: HealthService, stub: HealthStub, autojump_clock: object
) -> None:
    seen: list[int] = []
    async with trio.open_nursery() as nursery:
        scope = await nursery.start(open_watch, stub, "a.B", seen)
        for status in (SERVING, SERVING, NOT_SERVING, SERVING):
            health.set("a.B", status)
            await trio.sleep(1)
        health.set("other", NOT_SERVING)
        health.remove("a.B")
        await trio.sleep(1)
        assert seen == [SERVICE_UNKNOWN, SERVING, NOT_SERVING, SERVING, SERVICE_UNKNOWN]
        scope.cancel()
        await trio.sleep(1)
        health.set("a.B", SERVING)
        await trio.sleep(1)
        assert len(seen) == 5


async def test_what_changes_back_unseen_is_not_told(
    health: HealthService, stub: HealthStub, autojump_clock: object
) -> None:
    seen: list[int] = []
    async with trio.open_nursery() as nursery:
        scope = await nursery.start(open_watch, stub, "", seen)
        health.set("", NOT_SERVING)
        health.set("", SERVING)
        await trio.sleep(1)
        assert seen == [SERVING]
        health.set("", NOT_SERVING)
        health.set("", ServingStatus.UNKNOWN)
        await trio.sleep(1)
        assert seen == [SERVING, ServingStatus.UNKNOWN]
        scope.cancel()


async def test_a_slow_watcher_gets_the_newest_and_little_waits_for_it(
    autojump_clock: object,
) -> None:
    health = HealthService()
    client = Limits(stream_window=64, max_concurrent_streams=10)
    server = Limits(max_queued_bytes=64)
    async with in_memory([health], limits=server, client=client) as (channel, _):
        async with HealthStub(channel).Watch.open() as stream:
            await stream.send_message(HealthCheckRequest(), end=True)
            for number in range(2000):
                health.set("", SERVING if number % 2 else NOT_SERVING)
                await trio.sleep(0.01)
            health.set("", ServingStatus.UNKNOWN)
            await trio.sleep(1)
            told = []
            with trio.move_on_after(10):
                while (reply := await stream.recv_message()) is not None:
                    told.append(reply.status)
            assert told[-1] == ServingStatus.UNKNOWN
            assert len(told) < 50
            await stream.cancel()


async def test_watchers_are_bounded_and_leave_nothing(
    health: HealthService, stub: HealthStub, autojump_clock: object
) -> None:
    async with trio.open_nursery() as nursery:
        scopes = [await nursery.start(open_watch, stub, name, []) for name in ("x", "x", "no.such")]
        with pytest.raises(GRPCError) as caught:
            await nursery.start(open_watch, stub, "", [])
        assert caught.value.status is Status.RESOURCE_EXHAUSTED
        for scope in scopes:
            scope.cancel()
        await trio.sleep(1)
    assert list(health._entries) == [""]
    with pytest.raises(GRPCError) as caught:
        await stub.Watch(HealthCheckRequest(service="x" * 1025))
    assert caught.value.status is Status.INVALID_ARGUMENT


async def test_shutdown_and_resume(
    health: HealthService, stub: HealthStub, autojump_clock: object
) -> None:
    seen: list[int] = []
    health.set("a.B", NOT_SERVING)
    async with trio.open_nursery() as nursery:
        scope = await nursery.start(open_watch, stub, "", seen)
        health.shutdown()
        health.shutdown()
        await trio.sleep(1)
        health.set("a.B", SERVING)
        health.set("late", SERVING)
        health.remove("no.such")
        assert [await ask(stub, name) for name in ("", "a.B", "late")] == [NOT_SERVING] * 3
        health.resume()
        health.resume()
        assert [await ask(stub, name) for name in ("", "a.B", "late")] == [SERVING] * 3
        await trio.sleep(1)
        assert seen == [SERVING, NOT_SERVING, SERVING]
        scope.cancel()


def test_what_cannot_be_set() -> None:
    health = HealthService()
    with pytest.raises(ValueError, match="remove"):
        health.set("x", SERVICE_UNKNOWN)
    with pytest.raises(ValueError, match="1024"):
        health.set("x" * 1025, SERVING)
    with pytest.raises(ValueError, match="max_watchers"):
        HealthService(max_watchers=-1)
    assert health.get("x") is SERVICE_UNKNOWN


async def test_grpcio_agrees() -> None:
    """Its stubs, and two descriptions of the same messages in one process."""
    assert official.HealthCheckResponse.DESCRIPTOR.full_name == (
        HealthCheckResponse.DESCRIPTOR.full_name
    )
    health = HealthService()

    def talk(address: str) -> list[int]:
        with grpc.insecure_channel(address) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            watch = stub.Watch(official.HealthCheckRequest(service="a.B"), timeout=10)
            seen = [next(watch).status]
            trio.from_thread.run_sync(health.set, "a.B", NOT_SERVING)
            seen.append(next(watch).status)
            watch.cancel()
            seen.append(stub.Check(official.HealthCheckRequest(), timeout=10).status)
            with pytest.raises(grpc.RpcError) as caught:
                stub.Check(official.HealthCheckRequest(service="x"), timeout=10)
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
            listed = stub.List(official.HealthListRequest(), timeout=10).statuses
            return [*seen, listed["a.B"].status]

    async with serving([health]) as address:
        seen = await trio.to_thread.run_sync(talk, address)
    assert seen == [SERVICE_UNKNOWN, NOT_SERVING, SERVING, NOT_SERVING]
