"""A server on the official grpcio package, in a process of its own.

`python -m _peers.grpcio_server DIRECTORY [OPTION=INTEGER...]` listens on TCP, on a Unix socket, and
with TLS if the directory holds a certificate; prints its addresses as a line of JSON; stops
gracefully when its stdin ends. Options are grpc-core's channel arguments.
"""

from __future__ import annotations

import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]

from ._gen.interop_pb2 import Instruction, Reply
from ._gen.interop_pb2_grpc import InteropServicer, add_InteropServicer_to_server
from .certificates import CERTIFICATE, KEY
from .model import dumps
from .service import reply_to

CODES = {code.value[0]: code for code in grpc.StatusCode}


class Service(InteropServicer):
    """Does what the instructions say; see interop.proto."""

    def __init__(self) -> None:
        self._ended: dict[str, threading.Event] = defaultdict(threading.Event)
        self._endings: dict[str, bytes] = {}

    def Unary(self, request: Instruction, context: Any) -> Reply:
        with _Call(self, context) as call:
            call.begin(request)
            remaining = call.time_remaining
            call.wait_and_fail(request)
            return reply_to(request, remaining, 1)

    def ServerStream(self, request: Instruction, context: Any) -> Iterator[Reply]:
        with _Call(self, context) as call:
            call.begin(request)
            for _ in range(request.reply_count):
                yield reply_to(request, call.time_remaining, 1)
            call.wait_and_fail(request)

    def ClientStream(self, requests: Iterator[Instruction], context: Any) -> Reply:
        with _Call(self, context) as call:
            last, received, payload = Instruction(), 0, b""
            for request in requests:
                last, received, payload = request, received + 1, payload + request.payload
            call.begin(last)
            call.wait_and_fail(last)
            joined = Instruction(payload=payload, reply_size=last.reply_size)
            return reply_to(joined, call.time_remaining, received)

    def Bidi(self, requests: Iterator[Instruction], context: Any) -> Iterator[Reply]:
        with _Call(self, context) as call:
            last, received = Instruction(), 0
            for request in requests:
                if not received:
                    call.begin(request)
                last, received = request, received + 1
                yield reply_to(request, call.time_remaining, received)
            call.wait_and_fail(last)

    def HowEnded(self, request: Instruction, context: Any) -> Reply:
        if not self._ended[request.call_id].wait(10):
            context.abort(grpc.StatusCode.ABORTED, f"call {request.call_id!r} has not ended")
        return Reply(payload=self._endings[request.call_id])

    def record(self, call_id: str, ending: bytes) -> None:
        """Keep how a call ended, for HowEnded."""
        self._endings[call_id] = ending
        self._ended[call_id].set()


class _Call:
    """One call as its handler sees it."""

    def __init__(self, service: Service, context: Any) -> None:
        self._service = service
        self._context = context
        self._id = ""
        self._gone = threading.Event()
        self._finished = False
        remaining = context.time_remaining()
        self.time_remaining = -1.0 if remaining is None or remaining > 1e8 else float(remaining)

    def __enter__(self) -> _Call:
        self._context.add_callback(self._gone.set)
        initial = self._echoed("initial-")
        if initial:
            self._context.send_initial_metadata(initial)
        self._context.set_trailing_metadata(self._echoed("trailing-"))
        return self

    def __exit__(self, *_: object) -> None:
        ending = b"cancelled" if self._gone.is_set() else b"finished"
        self._service.record(self._id, ending)

    def begin(self, instruction: Instruction) -> None:
        self._id = instruction.call_id
        metadata = list(self._echoed("trailing-"))
        if instruction.trailer_size:
            metadata.append(("big", "x" * instruction.trailer_size))
        if instruction.details:
            metadata.append(("grpc-status-details-bin", instruction.details))
        self._context.set_trailing_metadata(metadata)

    def wait_and_fail(self, instruction: Instruction) -> None:
        if instruction.wait:
            self._gone.wait(instruction.wait)
        if instruction.status:
            self._context.abort(CODES[instruction.status], instruction.status_message)

    def _echoed(self, prefix: str) -> tuple[tuple[str, str | bytes], ...]:
        metadata = self._context.invocation_metadata()
        return tuple((key, value) for key, value in metadata if key.startswith(prefix))


def main(directory: Path, options: list[tuple[str, int]]) -> None:
    """Serve until stdin ends."""
    # Handlers that wait hold a thread each; the scenarios have a hundred at once.
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=128),
        options=[("grpc.max_metadata_size", 128 * 1024), *options],
    )
    register: Callable[[InteropServicer, Any], None] = add_InteropServicer_to_server
    register(Service(), server)
    path = directory / "grpcio.sock"
    server.add_insecure_port(f"unix:{path}")
    addresses: dict[str, Any] = {"unix": str(path)}
    addresses["port"] = server.add_insecure_port("127.0.0.1:0")
    if (directory / KEY).exists():
        pair = ((directory / KEY).read_bytes(), (directory / CERTIFICATE).read_bytes())
        credentials = grpc.ssl_server_credentials([pair])
        addresses["tls_port"] = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    print(dumps(addresses), flush=True)
    sys.stdin.read()
    server.stop(grace=10).wait()


if __name__ == "__main__":
    pairs = [argument.split("=") for argument in sys.argv[2:]]
    main(Path(sys.argv[1]), [(name, int(value)) for name, value in pairs])
