"""The import arrows of the house, and other promises about its shape."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import trioraft

PACKAGE = Path(trioraft.__file__).parent

# Which rooms each room may import from. `_proto` is generated and may be read by any room
# that is not pure; what is missing here is forbidden.
MAY_IMPORT: dict[str, set[str]] = {
    "rpc": {"_proto"},  # rpc/services/ and rpc/details.py: gRPC's own messages alone, see below
    "raft": set(),
    "_proto": {"_proto"},
    "drpc": {"rpc", "_proto"},
    "storage": {"raft"},
    "node": {"storage", "raft"},
    "machines": {"node", "raft", "_proto"},
    "protocols": {"node", "raft", "rpc", "drpc", "_proto", "machines"},
    "client": {"rpc", "raft", "drpc", "protocols", "_proto"},
    "host": {
        "protocols", "machines", "node", "storage", "raft", "rpc", "drpc", "client", "_proto",
    },
    "testing": {
        "host", "node", "storage", "raft", "rpc", "machines", "protocols", "client", "_proto",
    },
    "cli": {
        "host", "protocols", "machines", "client", "drpc", "rpc", "node", "storage", "raft",
        "testing", "_proto",
    },
}  # fmt: skip

PURE = {"asyncio", "grpclib", "msgpack", "ngh2", "random", "socket", "threading", "time", "trio"}


def modules(room: str) -> Iterator[Path]:
    yield from sorted((PACKAGE / room).rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Absolute names of everything that a file imports, at any depth, with line numbers."""
    package = ("trioraft", *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            name = ".".join(part for part in (base, node.module) if part)
            for alias in node.names:
                yield f"{name}.{alias.name}", node.lineno


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_imports_point_one_way(room: str) -> None:
    wrong = []
    for path in modules(room):
        for name, line in imports(path):
            parts = name.split(".")
            if parts[0] != "trioraft" or len(parts) < 2:
                continue
            target = parts[1]
            if target != room and target not in MAY_IMPORT[room]:
                wrong.append(f"{path.relative_to(PACKAGE)}:{line} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_grpc_knows_no_messages_but_its_own() -> None:
    for path in modules("rpc"):
        for name, line in imports(path):
            if name.startswith("trioraft._proto"):
                assert name.startswith("trioraft._proto.grpc."), f"{path}:{line} imports {name}"


def test_every_room_is_in_the_plan() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert rooms == set(MAY_IMPORT)


def test_the_core_is_pure() -> None:
    """No I/O, clock, Trio or protobuf; `random.Random` is a type that is handed in."""
    wrong = []
    for path in modules("raft"):
        for name, line in imports(path):
            top = name.split(".")[0]
            if top in PURE and name != "random.Random" and name != "random":
                wrong.append(f"{path.relative_to(PACKAGE)}:{line} imports {name}")
        text = path.read_text()
        assert "random.random(" not in text, path
    assert not wrong, "\n".join(wrong)


def test_only_one_module_knows_the_http2_library() -> None:
    users = [
        str(path.relative_to(PACKAGE))
        for path in sorted(PACKAGE.rglob("*.py"))
        if any(name.split(".")[0] == "ngh2" for name, _ in imports(path))
    ]
    assert users == ["rpc/wire/http2.py"]


def test_no_asyncio_anywhere() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        if "_proto" in path.parts:
            continue
        for name, line in imports(path):
            assert name.split(".")[0] != "asyncio", f"{path}:{line}"


def test_grpc_alone_does_not_load_raft() -> None:
    code = (
        "import sys, trioraft.rpc; "
        "print([m for m in sys.modules if m.startswith('trioraft.') "
        "and not m.startswith('trioraft.rpc')])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_files_and_functions_stay_small() -> None:
    """A file is a room: never over 500 lines; no function over 70."""
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if "_proto" in path.parts:
            continue
        text = path.read_text()
        if text.count("\n") > 500:
            wrong.append(f"{path.relative_to(PACKAGE)}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = (node.end_lineno or node.lineno) - node.lineno + 1
                # A signature with its docstring is documentation, not length of code.
                if size - _docstring_lines(node) > 70:
                    wrong.append(f"{path.relative_to(PACKAGE)}:{node.lineno} {node.name} ({size})")
    assert not wrong, "\n".join(wrong)


def _docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        return (first.end_lineno or first.lineno) - first.lineno + 1
    return 0


def test_public_names_exist() -> None:
    for name in trioraft.__all__:
        assert getattr(trioraft, name) is not None
