"""The load generator of `kv.py`: a process of its own, the same for every contestant.

python _kv_load.py put|get TARGET COUNT CLIENTS CONNECTIONS NAME KEYS

Puts and gets go round and round over KEYS keys whose names begin with NAME. Prints one line of
JSON: seconds, p50 and p99 in seconds, CPU seconds of this process, failures.

Servers and generator share the machine, so what the generator costs hides what the servers do. It
is therefore as plain as can be (some 10 us per call): sockets and libnghttp2, requests encoded
beforehand, replies not decoded, of each only whether it says `grpc-status: 0`.
"""

from __future__ import annotations

import json
import selectors
import socket
import statistics
import sys
import time
from collections.abc import Iterator

import ngh2

from trioraft._proto.etcd.rpc_pb2 import PutRequest, RangeRequest

VALUE_BYTES = 256
PATHS = {"put": b"/etcdserverpb.KV/Put", "get": b"/etcdserverpb.KV/Range"}
OK = (b"grpc-status", b"0")
TIMEOUT = 30.0  # seconds without any answer after which the generator gives up

STREAM_WINDOW = 1 << 20
CONNECTION_WINDOW = 1 << 26


def requests(work: str, name: str, count: int, among: int) -> Iterator[bytes]:
    """One gRPC message per call, with its five bytes of prefix."""
    value = b"v" * VALUE_BYTES
    for number in range(count):
        key = f"{name}/{number % among:08d}".encode()
        message = PutRequest(key=key, value=value) if work == "put" else RangeRequest(key=key)
        encoded = message.SerializeToString()
        yield b"\0" + len(encoded).to_bytes(4, "big") + encoded


class Generator:
    """Keeps so many calls under way until all are answered: each answer starts the next call."""

    def __init__(self, path: bytes, target: str, calls: list[bytes]) -> None:
        self._calls = iter(calls)
        self._left = len(calls)
        self._target = target
        self._headers = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path),
            (b":authority", target.encode()),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
        ]
        self._selector = selectors.DefaultSelector()
        self.latencies: list[float] = []
        self.failures = 0

    def connect(self) -> Connection:
        """One more connection, its settings exchanged."""
        connection = Connection(self._target)
        self._selector.register(connection.socket, selectors.EVENT_READ, connection)
        return connection

    def run(self, clients: int, connections: list[Connection]) -> None:
        """Make all calls. Raises TimeoutError and ConnectionError."""
        for number in range(clients):
            self._begin(connections[number % len(connections)])
        for connection in connections:
            connection.flush()
        while self._left:
            ready = self._selector.select(TIMEOUT)
            if not ready:
                raise TimeoutError(f"no answer for {TIMEOUT:g} s; {self._left} calls are open")
            for key, _ in ready:
                connection = key.data
                events = connection.receive()
                now = time.perf_counter()
                for event in events:
                    self._take(connection, event, now)
                connection.flush()

    def _begin(self, connection: Connection) -> None:
        message = next(self._calls, None)
        if message is not None:
            connection.begin(self._headers, message)

    def _take(self, connection: Connection, event: ngh2.Event, now: float) -> None:
        if isinstance(event, ngh2.TrailersReceived):
            succeeded = OK in event.headers
        elif isinstance(event, ngh2.ResponseReceived) and event.end_stream:
            succeeded = False  # nothing but a status: an error
        elif isinstance(event, ngh2.StreamClosed) and event.stream_id in connection.started:
            succeeded = False  # reset
        else:
            return
        if not succeeded:
            self.failures += 1
            print(event, file=sys.stderr)
        self.latencies.append(now - connection.started.pop(event.stream_id))
        self._left -= 1
        self._begin(connection)


class Connection:
    """One connection and the calls on it."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.started: dict[int, float] = {}
        configuration = ngh2.Configuration(auto_window_update=True)
        self._engine = ngh2.Connection(ngh2.Role.CLIENT, configuration)
        self._engine.initiate_connection({ngh2.Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW})
        self._engine.set_local_window_size(CONNECTION_WINDOW)
        self.flush()
        self.receive()
        self.flush()

    def begin(self, headers: list[tuple[bytes, bytes]], message: bytes) -> None:
        """Queue a call; `flush` sends it."""
        stream = self._engine.send_request(headers)
        self._engine.send_data(stream, message, end_stream=True)
        self.started[stream] = time.perf_counter()

    def flush(self) -> None:
        data = self._engine.data_to_send()
        if data:
            self.socket.sendall(data)

    def receive(self) -> list[ngh2.Event]:
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionError("the server has closed the connection")
        self._engine.receive_data(data)
        return list(self._engine.events())


def main(
    work: str, target: str, count: int, clients: int, connections: int, name: str, keys: int
) -> dict[str, float]:
    """Make the calls, `clients` at a time over so many connections."""
    generator = Generator(PATHS[work], target, list(requests(work, name, count, keys)))
    opened = [generator.connect() for _ in range(connections)]
    cpu, started = time.process_time(), time.perf_counter()
    generator.run(clients, opened)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    cuts = statistics.quantiles(generator.latencies, n=100)
    return {
        "seconds": seconds,
        "p50": cuts[49],
        "p99": cuts[98],
        "cpu": cpu,
        "failures": generator.failures,
    }


if __name__ == "__main__":
    work, target, count, clients, connections, name, keys = sys.argv[1:]
    print(
        json.dumps(main(work, target, int(count), int(clients), int(connections), name, int(keys)))
    )
