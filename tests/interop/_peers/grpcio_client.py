"""A client on the official grpcio package, in a process of its own.

`python -m _peers.grpcio_client [OPTION=INTEGER...]`; options are grpc-core's channel arguments.
Reads commands as lines of JSON, {"target", "directory" (with a certificate, for TLS), "calls"},
makes the calls at the same time on one channel per target, and answers with a line of outcomes.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]

from .certificates import CERTIFICATE
from .model import METHODS, SERVICE, Call, Outcome, call_from, dumps, fields_of, loads

OPTIONS = [("grpc.max_metadata_size", 128 * 1024), ("grpc.use_local_subchannel_pool", 1)]


def perform(channel: Any, call: Call) -> Outcome:
    """Make one call and tell all that came of it."""
    start = time.monotonic()
    response = invoke(channel, call)
    timer = None
    if call.cancel_after is not None:
        timer = threading.Timer(call.cancel_after, response.cancel)
        timer.start()
    replies: list[bytes] = []
    time.sleep(call.pause)
    try:
        for reply in received(response, call):
            replies.append(reply)
            if len(replies) == call.cancel_after_replies:
                response.cancel()
    except (grpc.RpcError, grpc.FutureCancelledError):
        pass  # the status below says it
    outcome = Outcome(
        code=response.code().name,
        message=response.details() or "",
        replies=replies,
        initial=tuple(response.initial_metadata() or ()),
        trailing=tuple(response.trailing_metadata() or ()),
        seconds=time.monotonic() - start,
    )
    if timer is not None:
        timer.cancel()
    return outcome


def invoke(channel: Any, call: Call) -> Any:
    """Start a call; messages stay bytes."""
    many_in, many_out = METHODS[call.method]
    kind = f"{'stream' if many_in else 'unary'}_{'stream' if many_out else 'unary'}"
    method = getattr(channel, kind)(SERVICE + call.method)
    request = iter(call.requests) if many_in else call.requests[0]
    start = method if many_out else method.future
    return start(request, timeout=call.timeout, metadata=tuple(call.metadata))


def received(response: Any, call: Call) -> Iterator[bytes]:
    """Replies as they come."""
    if METHODS[call.method][1]:
        yield from response
    else:
        yield response.result()


def open_channel(target: str, directory: str | None) -> Any:
    """A channel, with TLS if there is a directory with a certificate to trust."""
    pairs = [argument.split("=") for argument in sys.argv[1:]]
    options = OPTIONS + [(name, int(value)) for name, value in pairs]
    if directory is None:
        return grpc.insecure_channel(target, options=options)
    credentials = grpc.ssl_channel_credentials((Path(directory) / CERTIFICATE).read_bytes())
    return grpc.secure_channel(target, credentials, options=options)


def main() -> None:
    """Carry out commands until stdin ends."""
    channels: dict[tuple[str, str | None], Any] = {}
    with ThreadPoolExecutor(128) as pool:
        for line in sys.stdin:
            command = loads(line)
            key = (command["target"], command["directory"])
            if key not in channels:
                channels[key] = open_channel(*key)
            calls: Sequence[Call] = [call_from(fields) for fields in command["calls"]]
            outcomes = pool.map(perform, [channels[key]] * len(calls), calls)
            print(dumps([fields_of(outcome) for outcome in outcomes]), flush=True)
        for channel in channels.values():
            channel.close()


if __name__ == "__main__":
    main()
