"""Who is calling, as handlers see it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import UNARY, One

from trioraft.rpc import Peer, UnixCredentials, current_call, open_channel, open_server
from trioraft.rpc.codegen.handlers import unary_unary


async def peer_by(target: str, listen: str) -> tuple[Any, Any, Any]:
    """What a handler of a call to such a server knows of its peer."""
    seen: list[Peer] = []

    async def handler(stream: Any) -> None:
        seen.append(stream.peer)
        await stream.recv_message()
        await stream.send_message(EchoReply())

    async with open_server([One(handler)], listen=listen) as server:
        if not target:
            target = f"127.0.0.1:{server.addresses[0][1]}"
        async with open_channel(target) as channel:
            await EchoStub(channel).Unary(EchoRequest(), timeout=5)
            [peer] = seen
            assert peer.addr() is not None
            facts = peer.credentials, peer.certificate, peer.tls()
    assert (peer.credentials, peer.certificate, peer.tls()) == (None, None, None)  # it is gone
    return facts


async def test_unix_sockets_tell_the_process(tmp_path: Path) -> None:
    ourselves = UnixCredentials(os.getpid(), os.getuid(), os.getgid())
    target = f"unix:{tmp_path}/a.sock"
    assert await peer_by(target, target) == (ourselves, None, None)
    name = f"unix-abstract:trioraft-peer-{os.getpid()}"
    assert await peer_by(name, name) == (ourselves, None, None)


async def test_tcp_does_not() -> None:
    assert await peer_by("", "127.0.0.1:0") == (None, None, None)


async def test_plain_handlers_ask_for_it(tmp_path: Path) -> None:
    async def who(request: EchoRequest) -> EchoReply:
        credentials = current_call().peer.credentials
        assert credentials is not None
        return EchoReply(index=credentials.pid)

    class Service:
        def __mapping__(self) -> dict[str, Any]:
            return {UNARY: unary_unary(who, EchoRequest, EchoReply)}

    target = f"unix:{tmp_path}/a.sock"
    async with open_server([Service()], listen=target), open_channel(target) as channel:
        reply = await EchoStub(channel).Unary(EchoRequest(), timeout=5)
        assert reply.index == os.getpid()
