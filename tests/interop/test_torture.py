"""Cables pulled, processes killed and stopped, disks filled, members replaced: nothing breaks.

The script behind it, `_torture`, is for people, too (`make torture`). TRIORAFT_TORTURE_SECONDS is
the time under fire (default 10), TRIORAFT_TORTURE_SEED chooses other faults.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = os.environ.get("TRIORAFT_TORTURE_SECONDS", "10")
SEED = os.environ.get("TRIORAFT_TORTURE_SEED", "4")
SCRIPT = Path(__file__).with_name("_torture")
CANNOT = 2  # the exit status that says that this machine has no network namespaces


@pytest.mark.slow
@pytest.mark.parametrize("wire", ["ratis", "openraft"])
def test_promises_hold_under_real_faults(wire: str, tmp_path: Path) -> None:
    seconds = str(float(SECONDS) / 2)
    arguments = ["--seconds", seconds, "--seed", SEED, "--wire", wire, "--out", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=float(SECONDS) * 2 + 120,
    )
    if done.returncode == CANNOT:
        pytest.skip(done.stdout.strip())
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "linearizable: " in done.stdout
    assert "all replicas are equal" in done.stdout
    assert (tmp_path / "torture.svg").read_text().startswith("<svg")
