"""What the plugin writes: golden files, odd names, comments; what it says when it cannot."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from hypothesis import given, settings
from hypothesis import strategies as st

from trioraft.rpc.codegen import plugin
from trioraft.rpc.codegen.docstrings import clean, docstring
from trioraft.rpc.codegen.render import output_name
from trioraft.rpc.codegen.schema import python_names

HERE = Path(__file__).parent
GOLDEN = HERE / "_golden"
ROOT = HERE.parents[2]
_WORDS = ["import", "import_", "None", "_get", "__init__", "__mapping__", "rpc__init__", "self"]


@pytest.mark.parametrize("name", ["shop/orders_trio.py", "odd/words_trio.py", "calls_trio.py"])
def test_the_output_is_as_agreed(generated: Path, name: str) -> None:
    """After a wanted change: TRIORAFT_WRITE_GOLDEN=1 writes the files anew, for git to show."""
    made = (generated / name).read_text()
    golden = GOLDEN / name.replace("/", "-")
    if os.environ.get("TRIORAFT_WRITE_GOLDEN"):
        golden.write_text(made)
    assert made == golden.read_text()


def test_files_without_services_are_not_written(generated: Path) -> None:
    made = sorted(str(path.relative_to(generated)) for path in generated.rglob("*_trio.py"))
    assert made == ["calls_trio.py", "odd/words_trio.py", "shop/orders_trio.py"]


def test_a_strict_type_checker_finds_misuse_and_nothing_else(generated: Path) -> None:
    """In the generated code and in code that uses it; `_typed` says what is misuse."""
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed")
    modules = ("shop.orders_trio", "calls_trio", "typed_use", "typed_misuse")
    checked = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--warn-unreachable"),
            *("--enable-error-code=deprecated", "--follow-imports=silent", "--config-file="),
            *("--no-error-summary", f"--cache-dir={ROOT / '.mypy_cache' / 'generated'}"),
            *(argument for module in modules for argument in ("-m", module)),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "MYPYPATH": os.pathsep.join([str(generated), str(HERE / "_typed")])},
    )
    assert checked.stderr == ""
    found = []
    for line in checked.stdout.splitlines():
        path, number, kind, text = line.split(":", 3)
        # What protoc itself writes for messages is not strict, and not ours.
        if kind.strip() == "error" and not path.endswith("_pb2.pyi"):
            found.append((Path(path).name, int(number), text.rpartition("[")[2].rstrip("]")))
    source = (HERE / "_typed" / "typed_misuse.py").read_text().splitlines()
    assert found == [
        ("typed_misuse.py", number, line.rpartition("# error: ")[2])
        for number, line in enumerate(source, 1)
        if "# error: " in line
    ]


def test_generated_code_loads_the_runtime_only(generated: Path) -> None:
    code = (
        "import sys, calls_trio; print([name for name in sys.modules if name in "
        "('asyncio', 'google.protobuf.compiler') or name.startswith('trioraft.rpc.codegen.')])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(generated)},
    )
    names = ("calls", "channels", "checks", "deprecation", "handlers", "runtime")
    assert sorted(ast.literal_eval(found.stdout)) == [f"trioraft.rpc.codegen.{n}" for n in names]


def test_names_that_python_cannot_write_are_imported(generated: Path) -> None:
    module = importlib.import_module("odd.words_trio")
    mapping = module.classBase().__mapping__()
    assert [path.rpartition("/")[2] for path in mapping] == ["pass", "yield", "check"]
    handler = mapping["/odd.class.class/pass"]
    assert handler.request_type.DESCRIPTOR.full_name == "odd.None"
    assert handler.reply_type.DESCRIPTOR.full_name == "odd.class.True.def"


_NAMES = st.from_regex(r"[A-Za-z_][A-Za-z_0-9]*", fullmatch=True)
_SERVICES = st.dictionaries(_NAMES, st.lists(st.sampled_from(_WORDS) | _NAMES, unique=True))


@settings(max_examples=50, deadline=None)
@given(file=st.text(st.characters(exclude_categories=["Cs"]), min_size=1), services=_SERVICES)
def test_any_names_give_python(file: str, services: dict[str, list[str]]) -> None:
    """Valid source, in which no two methods of a service have the same name."""
    request = CodeGeneratorRequest(file_to_generate=[file])
    proto = request.proto_file.add(name=file)
    proto.message_type.add(name="__M").nested_type.add(name="N")
    for name, methods in services.items():
        service = proto.service.add(name=name)
        for method in methods:
            service.method.add(name=method, input_type=".__M", output_type=".__M.N")
    for made in plugin.generate(request).file:
        tree = ast.parse(made.content)
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
        assert len(classes) == 2 * len(services)
        for number, names in enumerate(services.values()):
            for node in classes[2 * number : 2 * number + 2]:
                defined = {
                    each.name for each in node.body if isinstance(each, ast.AsyncFunctionDef)
                }
                assert len(defined) == len(names)


def test_every_method_can_be_overridden_and_called(generated: Path) -> None:
    module = importlib.import_module("shop.orders_trio")
    mapping = module.OrdersBase().__mapping__()
    service = module._shop_orders_pb2.DESCRIPTOR.services_by_name["Orders"]
    assert list(mapping) == [f"/shop.Orders/{method.name}" for method in service.methods]
    names = {name for name in vars(module.OrdersBase) if not name.startswith("_")}
    assert names == {name for name in vars(module.OrdersStub) if not name.startswith("_")}
    assert len(names) == len(service.methods)
    for path, handler in mapping.items():
        method = service.methods_by_name[path.rpartition("/")[2]]
        assert handler.request_type.DESCRIPTOR is method.input_type
        assert handler.reply_type.DESCRIPTOR is method.output_type


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["Get", "Put"], ["Get", "Put"]),
        (["import", "import_", "import__"], ["import___", "import_", "import__"]),
        (["_get", "__init__", "rpc_get"], ["rpc_get_", "rpc__init__", "rpc_get"]),
    ],
)
def test_names_of_methods(names: list[str], wanted: list[str]) -> None:
    assert python_names(names) == wanted


@pytest.mark.parametrize(
    ("source", "wanted"),
    [("a.proto", "a_trio.py"), ("x/a-b.proto", "x/a_b_trio.py"), ("x-y/a.proto", "x_y/a_trio.py")],
)
def test_names_of_files(source: str, wanted: str) -> None:
    assert output_name(source) == wanted


# ---- comments ------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.text())
def test_any_comment_is_a_docstring_that_says_the_same(text: str) -> None:
    body = docstring(clean(text), "    ")
    tree = ast.parse("\n".join(["def function():", *body, "    return 1"]))
    function = tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    said = ast.get_docstring(function, clean=False) or ""
    wanted = clean(text)
    assert said.split() == wanted.split()


@pytest.mark.parametrize(
    ("comment", "wanted"),
    [
        (" Says hello.\n", "Says hello."),
        (" First.\n\n   Code.\n", "First.\n\n  Code."),
        ("*\n Says\n hello.\n", "Says\nhello."),
        ("* Says hello. ", "Says hello."),
        ("Says hello\n   and good-bye. ", "Says hello\nand good-bye."),
        ("", ""),
        ("\r\n", ""),
    ],
)
def test_comments_lose_their_margins(comment: str, wanted: str) -> None:
    assert clean(comment) == wanted


# ---- the program ---------------------------------------------------------------------------------


def greeter(**method: Any) -> CodeGeneratorRequest:
    file = FileDescriptorProto(name="greeter.proto", syntax="proto3")
    file.message_type.add(name="Hello")
    service = file.service.add(name="Greeter")
    types = {"input_type": ".Hello", "output_type": ".Hello", **method}
    service.method.add(name="Greet", **types)
    return CodeGeneratorRequest(file_to_generate=["greeter.proto"], proto_file=[file])


def test_it_talks_to_protoc_by_standard_input_and_output() -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "trioraft.rpc.codegen.plugin"],
        input=greeter().SerializeToString(),
        capture_output=True,
        check=True,
    )
    response = CodeGeneratorResponse.FromString(finished.stdout)
    assert response == plugin.generate(greeter())
    assert [file.name for file in response.file] == ["greeter_trio.py"]
    assert '"/Greeter/Greet"' in response.file[0].content
    assert response.supported_features == 3


def test_an_option_is_an_error() -> None:
    request = greeter()
    request.parameter = "fast"
    response = plugin.generate(request)
    assert response.error == "protoc-gen-trioraft has no options, got 'fast'"
    assert not response.file


def test_a_type_that_is_nowhere_is_an_error() -> None:
    response = plugin.generate(greeter(input_type=".Nowhere"))
    assert response.error == "Greeter.Greet: no file defines .Nowhere"


def test_modules_of_the_same_name_do_not_mix() -> None:
    request = greeter(input_type=".Left", output_type=".Right")
    for name, message in (("a/b_c.proto", "Left"), ("a_b/c.proto", "Right")):
        file = request.proto_file.add(name=name)
        file.message_type.add(name=message)
    [made] = plugin.generate(request).file
    assert "from a import b_c_pb2 as _a_b_c_pb2\n" in made.content
    assert "from a_b import c_pb2 as _a_b_c_pb2_2\n" in made.content
    assert "request: _a_b_c_pb2.Left) -> _a_b_c_pb2_2.Right:" in made.content


def test_the_program_is_installed_with_the_package() -> None:
    with open(ROOT / "pyproject.toml", "rb") as file:
        scripts = tomllib.load(file)["project"]["scripts"]
    module, _, function = scripts["protoc-gen-trioraft"].partition(":")
    assert getattr(importlib.import_module(module), function) is plugin.main


def test_a_folder_with_an_underscore_in_front_is_not_mangled() -> None:
    """Inside a class, Python takes `__name` for the class's own private name."""
    request = greeter(input_type=".Hidden", output_type=".Hidden")
    request.proto_file.add(name="_private/_x.proto").message_type.add(name="Hidden")
    [made] = plugin.generate(request).file
    assert "from _private import _x_pb2 as _private__x_pb2\n" in made.content
