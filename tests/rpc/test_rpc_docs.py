"""What the documentation of public methods has to say."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import echo_trio
import pytest

import trioraft.rpc
import trioraft.rpc.codegen.runtime
import trioraft.rpc.compression
import trioraft.rpc.credentials
import trioraft.rpc.details
import trioraft.rpc.interceptors
import trioraft.rpc.orca
import trioraft.rpc.services
import trioraft.rpc.testing
from trioraft.rpc.codegen import handlers

MODULES = (
    trioraft.rpc,
    trioraft.rpc.codegen.runtime,
    trioraft.rpc.compression,
    trioraft.rpc.credentials,
    trioraft.rpc.details,
    trioraft.rpc.interceptors,
    trioraft.rpc.orca,
    trioraft.rpc.services,
    trioraft.rpc.testing,
)
WAITING = ("__aenter__", "__aexit__", "__anext__", "__call__")


def waiting() -> Iterator[tuple[str, str]]:
    """Public coroutine functions and methods of ours, with their documentation."""
    for module in MODULES:
        for name in module.__all__:
            public = getattr(module, name)
            members = inspect.getmembers(public) if inspect.isclass(public) else [("", public)]
            for member, function in members:
                if member.startswith("_") and member not in WAITING:
                    continue
                if member[:1].isupper() or not inspect.iscoroutinefunction(function):
                    continue  # the methods of a service are for the server to call
                if function.__module__.startswith("trioraft."):  # not a base class's
                    yield f"{name}.{member}".rstrip("."), inspect.getdoc(function) or ""


def blocks() -> Iterator[tuple[str, str]]:
    """What gives blocks to enter, and the channels of handlers that generated code makes."""
    yield "open_server", inspect.getdoc(trioraft.rpc.open_server) or ""
    yield "open_test_channel", inspect.getdoc(trioraft.rpc.testing.open_test_channel) or ""
    yield "watch_load", inspect.getdoc(trioraft.rpc.orca.watch_load) or ""
    for kind in (handlers._Requests, handlers._Replies):
        for member in ("receive", "send", "aclose"):
            if member in vars(kind):
                yield f"{kind.__name__}.{member}", inspect.getdoc(vars(kind)[member]) or ""
    for generated in (echo_trio.EchoStub, echo_trio.EchoBase):
        yield generated.__name__, inspect.getdoc(generated) or ""


TEXTS = {**dict(waiting()), **dict(blocks())}


def test_there_are_some() -> None:
    assert len(TEXTS) > 80


@pytest.mark.parametrize(("name", "text"), TEXTS.items(), ids=TEXTS)
def test_it_says_what_cancelling_does(name: str, text: str) -> None:
    assert "cancel" in text.lower() or "Never waits" in text
