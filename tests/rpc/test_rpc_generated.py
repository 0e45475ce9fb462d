"""The committed echo code is what protoc makes of the schema."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GENERATED = Path(__file__).parent / "_gen"


def test_the_echo_code_is_reproducible(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools.protoc")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    outputs = ("python_out", "pyi_out", "grpclib_python_out", "grpc_python_out")
    subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", "-I", str(ROOT / "schema" / "testing")),
            *(f"--{output}={tmp_path}" for output in outputs),
            "echo.proto",
        ],
        check=True,
        env={**os.environ, "PATH": path},
    )
    made = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert made == {name: (GENERATED / name).read_text() for name in made}
    assert len(made) == 4
