"""grpc-go's own interop binaries, built by the Go toolchain and kept for the next run.

Beside them is one of ours on grpc-go's library, for the cases about compression: its own lack them.

`go/go.mod` and `go/go.sum` pin the versions of the modules, which come from wherever `go` is set up
to get them.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODULE = HERE / "go"

VERSION = "v1.85.0"
PACKAGES = (
    "google.golang.org/grpc/interop/client",
    "google.golang.org/grpc/interop/server",
    "google.golang.org/grpc/interop/http2",
    "github.com/fullstorydev/grpcurl/cmd/grpcurl",
    "./compression",
)


class NoPeer(Exception):
    """A peer cannot be had here; says why."""


def build(cache: Path) -> Path:
    """The folder of `client`, `server`, `http2`, `grpcurl` and `compression`, built if need be.

    Several processes may ask at once: one builds. It takes minutes of one core with empty caches.

    Raises:
        NoPeer: There is no `go` program, or it cannot build them.
    """
    go = shutil.which("go")
    if go is None:
        raise NoPeer("no go program to build grpc-go's interop binaries with")
    done = cache / f"grpc-go-{VERSION}-{fingerprint()}"
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not all((done / Path(package).name).exists() for package in PACKAGES):
            print(f"building grpc-go's interop binaries {VERSION} ...", file=sys.stderr, flush=True)
            run([go, "build", "-trimpath", "-ldflags=-s -w", "-o", f"{done}{os.sep}", *PACKAGES])
    return done


def fingerprint() -> str:
    """Of everything here that goes into the binaries."""
    sources = [MODULE / "go.mod", MODULE / "go.sum", MODULE / "compression" / "main.go"]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]


def run(command: list[str]) -> None:
    """Run `go` in the module's folder. Raises NoPeer with what it said."""
    environment = {**os.environ, "GOFLAGS": "-mod=readonly -buildvcs=false", "GOTOOLCHAIN": "local"}
    finished = subprocess.run(
        command, cwd=MODULE, env=environment, capture_output=True, text=True, check=False
    )
    if finished.returncode:
        raise NoPeer(f"go cannot build grpc-go's interop binaries: {finished.stderr[-2000:]}")
