"""The contestants of `rpc.py` that need more than this environment: grpc-go and purerpc.

Both are made when first asked for, in a folder of the user's cache, and kept: grpc-go's peer is
built by `go`, purerpc gets a virtual environment of its own (it pins an old HTTP/2 engine). A
contestant that cannot be had on this machine is left out, and the bench says why.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
GO_FOLDER = HERE / "_rpc_go"
PURERPC = ("purerpc==0.8.0", "trio>=0.30", "protobuf>=7.35,<8")


class NoContestantError(Exception):
    """It cannot be had here; the message says why."""


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "trioraft" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _run(command: list[str], folder: Path, what: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoContestantError(f"{what}: {(done.stderr or done.stdout).strip()[-500:]}")


def grpc_go() -> list[str]:
    """The command of the grpc-go peer. Raises NoContestantError."""
    go = shutil.which("go")
    if go is None:
        raise NoContestantError("there is no `go` program")
    built = _cache() / "grpc-go-echo"
    sources = [GO_FOLDER / name for name in ("main.go", "go.mod", "go.sum")]
    if not built.exists() or built.stat().st_mtime < max(s.stat().st_mtime for s in sources):
        _run([go, "build", "-trimpath", "-o", str(built), "."], GO_FOLDER, "go build")
    return [str(built)]


def purerpc() -> list[str]:
    """The command of the purerpc peer. Raises NoContestantError."""
    folder = _cache() / f"purerpc-{sys.version_info.major}.{sys.version_info.minor}"
    python = folder / "bin" / "python"
    ready = folder / "ready"
    if not ready.exists():
        venv.create(folder, clear=True, with_pip=True)
        _run([str(python), "-m", "pip", "install", "-q", *PURERPC], folder, "pip install")
        ready.touch()
    return [str(python), str(HERE / "_rpc_purerpc.py")]


def commands(stacks: list[str]) -> tuple[dict[str, list[str]], dict[str, str]]:
    """The command of each stack that can be had, and why not for the others."""
    own = [sys.executable, str(HERE / "_rpc_peers.py")]
    others = {"grpc-go": grpc_go, "purerpc": purerpc}
    found: dict[str, list[str]] = {}
    missing: dict[str, str] = {}
    for stack in stacks:
        try:
            found[stack] = others[stack]() if stack in others else own
        except NoContestantError as error:
            missing[stack] = str(error)
    return found, missing
