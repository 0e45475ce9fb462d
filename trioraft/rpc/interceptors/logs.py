"""Structured logs: one record per call, on either end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import trio

from trioraft.rpc.metadata import Metadata
from trioraft.rpc.status import Status

from .client import ClientCall
from .onion import Outcome, Traffic
from .plain import End, plain
from .server import ServerCall

__all__ = ["LEVELS", "SECRET", "log_calls"]

#: The level of a call's record by its status: what a peer did wrong is no error of ours.
LEVELS: Mapping[Status, int] = {
    Status.OK: logging.INFO,
    Status.CANCELLED: logging.INFO,
    Status.INVALID_ARGUMENT: logging.INFO,
    Status.NOT_FOUND: logging.INFO,
    Status.ALREADY_EXISTS: logging.INFO,
    Status.UNAUTHENTICATED: logging.INFO,
    Status.PERMISSION_DENIED: logging.WARNING,
    Status.DEADLINE_EXCEEDED: logging.WARNING,
    Status.RESOURCE_EXHAUSTED: logging.WARNING,
    Status.FAILED_PRECONDITION: logging.WARNING,
    Status.ABORTED: logging.WARNING,
    Status.OUT_OF_RANGE: logging.WARNING,
    Status.UNAVAILABLE: logging.WARNING,
    Status.UNKNOWN: logging.ERROR,
    Status.UNIMPLEMENTED: logging.ERROR,
    Status.INTERNAL: logging.ERROR,
    Status.DATA_LOSS: logging.ERROR,
}

#: Metadata whose values are never logged.
SECRET = frozenset({"authorization", "cookie", "proxy-authorization", "set-cookie"})

_REDACTED = "(not logged)"

AnyCall = ServerCall | ClientCall


def log_calls(
    logger: logging.Logger | None = None,
    *,
    levels: Mapping[Status, int] = LEVELS,
    metadata: Collection[str] = (),
    secret: Collection[str] = SECRET,
    payload: Callable[[Any], str] | None = None,
) -> Callable[[AnyCall], AbstractAsyncContextManager[None]]:
    """An interceptor, for servers and channels, that logs each call when it has ended.

    The record's text is for people; its attribute `rpc` is a dict for machines: `side` (server or
    client), `method`, `peer`, `status`, `message`, `seconds`, `sent`, `sent_bytes`, `received`,
    `received_bytes`, and `target` on a client, `metadata` if asked for.

    Args:
        logger: Default: `trioraft.rpc.calls`.
        levels: The level by status; a status that is missing is not logged.
        metadata: Keys of request metadata to log, lower-case. Those in `secret` are named without
            their value, those ending in `-bin` in hexadecimal.
        payload: Makes text of a message. With it, each message is logged as it passes, at DEBUG.
            Without, no contents are.

    What peers send is logged as `repr` gives it, so it cannot forge lines.
    """
    out = logger or logging.getLogger("trioraft.rpc.calls")
    secrets = frozenset(secret)

    def logged(call: AnyCall) -> End:
        started = trio.current_time()
        traffic = call.measure()
        if payload is not None and out.isEnabledFor(logging.DEBUG):
            _log_messages(out, call, payload)

        def end(outcome: Outcome) -> None:
            level = levels.get(outcome.status)
            if level is not None and out.isEnabledFor(level):
                fields = _fields(call, outcome, trio.current_time() - started, traffic)
                if metadata:
                    fields["metadata"] = _shown(call.metadata, metadata, secrets)
                out.log(level, "%s", _text(fields), extra={"rpc": fields})

        return end

    return plain(logged)


def _fields(call: AnyCall, outcome: Outcome, seconds: float, traffic: Traffic) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "side": "server",
        "method": call.method,
        "peer": None if call.peer is None else str(call.peer),
        "status": outcome.status.name,
        "message": outcome.message,
        "seconds": seconds,
        "sent": traffic.sent,
        "sent_bytes": traffic.sent_bytes,
        "received": traffic.received,
        "received_bytes": traffic.received_bytes,
    }
    if isinstance(call, ClientCall):
        fields["side"], fields["target"] = "client", call.target
    return fields


def _text(fields: Mapping[str, Any]) -> str:
    verb, preposition = ("served", "for") if fields["side"] == "server" else ("called", "at")
    peer = fields["peer"] or fields.get("target")
    message = f" ({fields['message']!r})" if fields["message"] else ""
    return (
        f"{verb} {fields['method']} {preposition} {peer}: {fields['status']}{message} "
        f"in {fields['seconds'] * 1000:.3f} ms, "
        f"received {fields['received']} ({fields['received_bytes']} B), "
        f"sent {fields['sent']} ({fields['sent_bytes']} B)"
    )


def _shown(metadata: Metadata, wanted: Collection[str], secrets: frozenset[str]) -> dict[str, Any]:
    shown = {}
    for key in wanted:
        values = metadata.getall(key, [])
        if values:
            shown[key] = [
                _REDACTED if key in secrets else value.hex() if isinstance(value, bytes) else value
                for value in values
            ]
    return shown


def _log_messages(out: logging.Logger, call: AnyCall, payload: Callable[[Any], str]) -> None:
    def received(message: Any) -> None:
        out.debug("%s received %r", call.method, payload(message))

    def sent(message: Any) -> None:
        out.debug("%s sends %r", call.method, payload(message))

    call.on_receive(received)
    call.on_send(sent)
