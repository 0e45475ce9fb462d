"""Runs protoc with our plugin, as a user would, and makes what comes out importable."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

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
