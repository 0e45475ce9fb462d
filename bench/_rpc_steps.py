"""The steps of a unary call, and the functions whose time each is, for bench/rpc_profile.py.

What a function of the list calls and is not listed itself belongs to the same step.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from inspect import iscoroutinefunction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import trio
from _probes import Probes

import trioraft.rpc.client.calls.opening as opening
import trioraft.rpc.wire.flow as flow
import trioraft.rpc.wire.http2 as http2
import trioraft.rpc.wire.pipe as pipe
import trioraft.rpc.wire.writing as writing
from trioraft.rpc.client.calls.answer import AnsweredCall
from trioraft.rpc.client.calls.sending import SendingCall
from trioraft.rpc.client.channel import Channel
from trioraft.rpc.server import workers
from trioraft.rpc.server.answering import AnsweringCall
from trioraft.rpc.server.connection import ServerConnection
from trioraft.rpc.server.stream import ServerStream
from trioraft.rpc.wire.connection import Connection
from trioraft.rpc.wire.reading import Reading
from trioraft.rpc.wire.receiving import Receiving

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "rpc" / "greeter"))

from greeter_pb2 import Greeting, Hello
from greeter_trio import GreeterBase, GreeterStub

__all__ = ["CLIENT", "SERVER", "Greeter", "GreeterStub", "Hello", "install"]

Functions: TypeAlias = list[tuple[Any, str]]


class Greeter(GreeterBase):
    """Greets, and has its calls counted."""

    def __init__(self, count: Callable[[], None]) -> None:
        self.count = count

    async def Greet(self, request: Hello) -> Greeting:
        self.count()
        return Greeting(text=request.name)


# What stands in for a class of C and for the module `os`, whose own functions cannot be probed.
Engine = type("Engine", (http2.Connection,), {})
system = SimpleNamespace(read=os.read, write=os.write)

_READS: dict[str, Functions] = {
    # Numbers 0 and 1 are so in `Probes`: the time in which no other step is on.
    "Trio: scheduler": [
        (trio._core, "wait_task_rescheduled"),
        *((module, "wait_task_rescheduled") for module in (workers, writing, flow, opening)),
    ],
    "epoll": [(trio.lowlevel, "wait_readable")],
    "read": [(system, "read")],
    "libnghttp2: bytes to events": [(Engine, "receive_data"), (Engine, "events")],
    "reader task: events to calls": [
        (Reading, "_read_loop"),
        (Connection, "_dispatch"),
    ],
}
_WRITES: dict[str, Functions] = {
    "waking tasks": [(module, "reschedule") for module in (workers, writing, flow)],
    "writer task": [
        (writing.Writing, "_write_loop"),
        (writing.Writing, "_send_some"),
        (writing.Writing, "_take_output"),
    ],
    "libnghttp2: frames to bytes": [(Engine, "data_to_send")],
    "write": [(system, "write")],
}
SERVER: dict[str, Functions] = {
    **_READS,
    "call object, its headers checked": [(ServerConnection, "_on_request")],
    "message cut out, windows": [(Receiving, "data_received"), (Receiving, "_take")],
    "worker task: handler run, ended": [
        (workers.Workers, "_live"),
        (workers.Workers, "start"),
        (ServerStream, "run"),
        (ServerStream, "finished"),
    ],
    "protobuf: decode": [(Hello, "FromString")],
    "handler": [(Greeter, "Greet")],
    "reply: checks, prefix, bounds": [(AnsweringCall, "send_message_nowait")],
    "protobuf: encode": [(Greeting, "SerializeToString")],
    "libnghttp2: frames queued": [
        (Engine, "send_response"),
        (Engine, "send_data"),
        (Engine, "send_trailers"),
    ],
    "stream forgotten": [(ServerStream, "stream_closed")],
    **_WRITES,
}
CLIENT: dict[str, Functions] = {
    **_READS,
    "call object": [(Channel, "request")],
    "stub, block: sending and waiting": [(GreeterStub, "Greet")],
    "protobuf: encode": [(Hello, "SerializeToString")],
    "headers, deadline, connection": [(SendingCall, "send_request")],
    "libnghttp2: frames queued": [(Engine, "send_request"), (Engine, "send_data")],
    "answer: headers, status, end": [
        (AnsweredCall, "response_received"),
        (AnsweredCall, "trailers_received"),
        (AnsweredCall, "stream_closed"),
    ],
    "message cut out, windows": [(Receiving, "data_received"), (Receiving, "_take")],
    "protobuf: decode": [(Greeting, "FromString")],
    **_WRITES,
}


def install(steps: dict[str, Functions], layers: int) -> Probes:
    """Put so many probes around all functions of these steps, in this process, for good."""
    vars(http2)["Connection"] = Engine
    vars(pipe)["os"] = system
    probes = Probes(len(steps))
    for number, functions in enumerate(steps.values()):
        for owner, name in functions:
            probed = getattr(owner, name)
            around = probes.around_coroutine if iscoroutinefunction(probed) else probes.around
            if owner is system:
                around = probes.around_system_call
            for _ in range(1 if owner is system else layers):
                probed = around(number, probed)
            # `FromString` is of a class, not of its objects.
            setattr(owner, name, staticmethod(probed) if name == "FromString" else probed)
    return probes
