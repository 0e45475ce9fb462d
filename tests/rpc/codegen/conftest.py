"""Runs protoc with our plugin, as a user would, and makes what comes out importable."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from trioraft.rpc import GRPCError, Status, current_call

HERE = Path(__file__).parent
PROTOS = HERE / "_protos"

Protoc = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def protoc(tmp_path_factory: pytest.TempPathFactory) -> Protoc:
    """`protoc(folder, "x.proto", ...)`; skips where grpcio-tools is missing."""
    pytest.importorskip("grpc_tools.protoc")
    plugin = tmp_path_factory.mktemp("plugin") / "protoc-gen-trioraft"
    plugin.write_text(f"#!/bin/sh\nexec '{sys.executable}' -m trioraft.rpc.codegen.plugin\n")
    plugin.chmod(0o755)

    def run(source: Path, *arguments: str, check: bool = True) -> Any:
        scripts = str(Path(sys.executable).parent)
        return subprocess.run(
            [
                *(sys.executable, "-m", "grpc_tools.protoc", f"-I{source}"),
                *(f"--plugin={plugin}", *arguments),
            ],
            check=check,
            capture_output=not check,
            text=True,
            env={**os.environ, "PATH": scripts + os.pathsep + os.environ.get("PATH", "")},
        )

    return run


@pytest.fixture(scope="session")
def generated(protoc: Protoc, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The code for every proto here: messages, their types, services; on `sys.path`."""
    output = tmp_path_factory.mktemp("generated")
    names = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    kinds = ("python_out", "pyi_out", "trioraft_out")
    protoc(PROTOS, *(f"--{kind}={output}" for kind in kinds), *names)
    protoc(PROTOS, f"--grpclib_python_out={output}", "calls.proto")
    sys.path.insert(0, str(output))
    yield output
    sys.path.remove(str(output))


@pytest.fixture
def calls(generated: Path) -> Any:
    return importlib.import_module("calls_trio")


@pytest.fixture
def text(generated: Path) -> Any:
    return importlib.import_module("calls_pb2").Text


@pytest.fixture
def service(calls: Any, text: Any) -> Any:
    class Calls(calls.CallsBase):  # type: ignore[misc]
        def __init__(self) -> None:
            self.cancelled = 0
            self.heard: list[str] = []
            self.stopped = trio.Event()

        @asynccontextmanager
        async def noting_cancellation(self) -> AsyncIterator[None]:
            """A caller that goes away ends `receive` by a status, all other waiting by Trio."""
            try:
                yield
            except (trio.Cancelled, GRPCError) as error:
                if isinstance(error, trio.Cancelled) or error.status is Status.CANCELLED:
                    self.cancelled += 1
                    self.stopped.set()
                raise

        async def Upper(self, request: Any) -> Any:
            if request.text == "fail":
                current_call().set_trailing_metadata({"reason": "asked"})
                raise GRPCError(Status.NOT_FOUND, "no such thing")
            if request.text == "nothing":
                return None
            if request.text == "wait":
                async with self.noting_cancellation():
                    await trio.sleep_forever()
            return text(text=request.text.upper())

        async def Spell(self, request: Any, replies: trio.abc.SendChannel[Any]) -> None:
            async with self.noting_cancellation():
                for letter in request.text:
                    await replies.send(text(text=letter))
                if request.text == "abc":
                    return
                if request.text == "ab!":
                    raise GRPCError(Status.ABORTED, "lost the thread")
                await trio.sleep_forever()

        async def Join(self, requests: trio.abc.ReceiveChannel[Any]) -> Any:
            async with self.noting_cancellation():
                async for request in requests:
                    self.heard.append(request.text)
                    if request.text == "enough":
                        break
                return text(text=" ".join(self.heard))

        async def Echo(
            self, requests: trio.abc.ReceiveChannel[Any], replies: trio.abc.SendChannel[Any]
        ) -> None:
            async with self.noting_cancellation():
                async for request in requests:
                    await replies.send(request)
                await replies.send(text(text="bye"))

        async def Former(self, request: Any) -> Any:
            return request

    return Calls()
