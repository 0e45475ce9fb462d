"""What the documentation of public methods has to say."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest

import trioraft.rpc
import trioraft.rpc.orca
import trioraft.rpc.testing

MODULES = (trioraft.rpc, trioraft.rpc.orca, trioraft.rpc.testing)


def waiting() -> Iterator[tuple[str, str]]:
    """Public coroutine functions and methods of ours, with their documentation."""
    for module in MODULES:
        for name in module.__all__:
            public = getattr(module, name)
            members = inspect.getmembers(public) if inspect.isclass(public) else [("", public)]
            for member, function in members:
                if member.startswith("_") or not inspect.iscoroutinefunction(function):
                    continue
                if function.__module__.startswith("trioraft."):  # not a base class's
                    yield f"{name}.{member}".rstrip("."), inspect.getdoc(function) or ""


def test_there_are_some() -> None:
    assert len(dict(waiting())) > 30


@pytest.mark.parametrize(("name", "text"), dict(waiting()).items(), ids=dict(waiting()))
def test_it_says_what_cancelling_does(name: str, text: str) -> None:
    assert "cancel" in text.lower() or "Never waits" in text
