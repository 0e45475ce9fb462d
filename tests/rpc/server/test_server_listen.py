"""Several listeners at once, of every kind, on real sockets."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio
from echo_grpc import EchoStub
from echo_pb2 import EchoRequest
from echo_service import Echo

from trioraft.rpc import (
    Bound,
    GRPCError,
    Limits,
    Tcp,
    Unix,
    open_channel,
    open_server,
    serve,
)
from trioraft.rpc.testing import MemoryListener


async def answers(target: str) -> bool:
    async with open_channel(target) as channel:
        reply = await EchoStub(channel).Unary(EchoRequest(payload=b"x"), timeout=5)
        return bool(reply.payload == b"x")


def target_of(address: object) -> str:
    assert isinstance(address, tuple)
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def test_all_kinds_at_once(tmp_path: Path) -> None:
    path, name = str(tmp_path / "a.sock"), f"trioraft-test-{os.getpid()}"
    bound = socket.create_server(("127.0.0.1", 0))
    unlistened = socket.socket()
    unlistened.bind(("127.0.0.1", 0))
    async with open_server(
        [Echo()],
        listen=["tcp:127.0.0.1:0", "tcp:[::1]:0", f"unix:{path}", f"unix-abstract:{name}"],
        sockets=[bound, unlistened],
    ) as server:
        four, six, unix, abstract, *adopted = server.addresses
        assert (unix, abstract) == (path, b"\0" + name.encode())
        assert adopted == [bound.getsockname(), unlistened.getsockname()] or len(adopted) == 2
        for target in (
            *map(target_of, (four, six, *adopted)),
            f"unix:{path}",
            f"unix-abstract:{name}",
        ):
            assert await answers(target)
    assert "a.sock" not in os.listdir(tmp_path)


async def test_one_is_enough_and_defaults_stay_out(tmp_path: Path) -> None:
    path = str(tmp_path / "a.sock")
    async with open_server([Echo()], listen=Unix(path, mode=0o600)) as server:
        assert server.addresses == [path]
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        assert await answers(f"unix:{path}")


async def test_a_stale_socket_file_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    path = str(tmp_path / "a.sock")
    with closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(path)
    async with open_server([Echo()], listen=f"unix:{path}"):
        with pytest.raises(OSError, match=f"cannot listen on unix:{path}"):
            async with open_server([Echo()], listen=f"unix:{path}"):
                pass
        assert await answers(f"unix:{path}")


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(OSError, match="cannot listen on unix:"):
        async with open_server([Echo()], listen=f"unix:{path}"):
            pass
    assert path.read_text() == "data"


async def test_a_socket_file_that_cannot_have_its_mode_is_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: str, mode: int) -> None:
        raise PermissionError(1, "no such mode here")

    path = str(tmp_path / "server.sock")
    monkeypatch.setattr(os, "chmod", refused)
    with pytest.raises(OSError, match=f"cannot listen on unix:{path}: .*no such mode here"):
        async with open_server([Echo()], listen=Unix(path, mode=0o600)):
            raise AssertionError("it is open")
    assert not os.path.exists(path)  # noqa: ASYNC240 - nothing else runs


async def test_all_or_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "a.sock")
    taken = socket.create_server(("127.0.0.1", 0))
    ours = socket.create_server(("127.0.0.1", 0))
    with closing(taken):
        with pytest.raises(OSError, match=r"cannot listen on 127\.0\.0\.1:"):
            async with open_server(
                [Echo()], listen=[f"unix:{path}", Tcp(*taken.getsockname())], sockets=[ours]
            ):
                pass
    assert "a.sock" not in os.listdir(tmp_path)
    assert ours.fileno() == -1


async def test_what_is_no_stream_socket_is_refused() -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with pytest.raises(ValueError, match="not a stream socket"):
        async with open_server([Echo()], listen=Bound(sock)):
            pass
    assert sock.fileno() == -1


async def test_the_block_raises_what_it_raised() -> None:
    with pytest.raises(KeyError):
        async with open_server([Echo()], port=0):
            raise KeyError("mine")


async def test_leaving_the_block_ends_the_server() -> None:
    async with open_server([Echo()], port=0) as server:
        target = target_of(server.addresses[0])
        assert await answers(target)
    await server.wait_stopped()
    with pytest.raises(GRPCError, match="cannot connect"):
        await answers(target)


async def test_cancelling_the_block_is_a_plain_cancellation() -> None:
    with trio.move_on_after(0.05) as scope:
        async with open_server([Echo()], port=0):
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_an_option_that_there_is_not_is_an_error() -> None:
    problem = "unexpected keyword argument 'limit'"
    with pytest.raises(TypeError, match=problem):
        open_server([Echo()], limit=Limits())  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=problem):
        await serve([Echo()], limit=Limits())  # type: ignore[call-arg]


async def test_binding_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    """Neither what is bound by then nor what was handed in."""
    handed_in = [MemoryListener(), MemoryListener()]
    scope = trio.CancelScope()

    class Slow(trio.abc.HostnameResolver):
        async def getaddrinfo(self, *_: Any, **__: Any) -> Any:
            scope.cancel()
            await trio.sleep_forever()

        async def getnameinfo(self, *_: Any) -> Any:
            raise AssertionError

    trio.socket.set_custom_hostname_resolver(Slow())
    paths = [tmp_path / "a", tmp_path / "b", tmp_path / "c"]
    with scope:
        async with open_server(
            [Echo()],
            listen=[*(Unix(str(path)) for path in paths), Tcp("some.name", 0)],
            listeners=handed_in,
        ):
            pytest.fail("it cannot have been opened")
    assert scope.cancelled_caught
    assert not any(path.exists() for path in paths)
    for listener in handed_in:
        with pytest.raises(trio.ClosedResourceError):
            await listener.accept()
