"""Regenerates `_gen/` from interop.proto: messages, and services for grpclib and grpcio."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
VIRTUAL = "_peers/_gen"


def main() -> int:
    """Run protoc; its exit status is ours."""
    scripts = str(Path(sys.executable).parent)
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            f"-I{VIRTUAL}={HERE}",
            "--python_out=.",
            "--pyi_out=.",
            "--grpclib_python_out=.",
            "--grpc_python_out=.",
            f"{VIRTUAL}/interop.proto",
        ],
        cwd=HERE.parent,
        env=os.environ | {"PATH": scripts + os.pathsep + os.environ.get("PATH", "")},
        check=False,
    ).returncode


if __name__ == "__main__":
    raise SystemExit(main())
