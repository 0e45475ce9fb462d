"""What the tests of channels share: a call that fails, a port that nobody has."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from echo_grpc import EchoStub
from echo_pb2 import EchoRequest

from trioraft.rpc import GRPCError


async def failure(channel: Any) -> GRPCError:
    with pytest.raises(GRPCError) as caught:
        await EchoStub(channel).Unary(EchoRequest())
    return caught.value


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
