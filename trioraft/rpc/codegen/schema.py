"""What protoc hands a plugin, reduced to what is rendered: services, methods, names of Python.

Sources: plugin.proto (CodeGeneratorRequest), descriptor.proto (SourceCodeInfo.Location.path).
"""

from __future__ import annotations

import keyword
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FileDescriptorProto,
    MethodDescriptorProto,
    ServiceDescriptorProto,
    SourceCodeInfo,
)

__all__ = ["File", "Message", "Method", "Service", "module_of", "read_files"]

# Field numbers in FileDescriptorProto and ServiceDescriptorProto, of which locations are made.
_SERVICE = FileDescriptorProto.SERVICE_FIELD_NUMBER
_METHOD = ServiceDescriptorProto.METHOD_FIELD_NUMBER


@dataclass(frozen=True, slots=True)
class Message:
    """A message type: the module that protoc's Python plugin puts it in, and its name there.

    path: the names of the messages that it is nested in, and its own.
    """

    module: str
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Method:
    """One method. `name` is Python's for it, `path` the wire's."""

    name: str
    path: str
    request: Message
    reply: Message
    client_streaming: bool
    server_streaming: bool
    comment: str
    deprecated: bool


@dataclass(frozen=True, slots=True)
class Service:
    """One service; `full_name` includes the proto package."""

    name: str
    full_name: str
    methods: tuple[Method, ...]
    comment: str
    deprecated: bool


@dataclass(frozen=True, slots=True)
class File:
    """A proto file that has services."""

    source: str
    services: tuple[Service, ...]


def module_of(source: str, suffix: str) -> str:
    """The dotted module for a proto file, named as protoc's Python plugin does."""
    return source.removesuffix(".proto").replace("-", "_").replace("/", ".") + suffix


def read_files(request: CodeGeneratorRequest) -> list[File]:
    """The files to generate, without those that have no service.

    Raises:
        ValueError: A method's type is in none of the files.
    """
    messages = {name: message for file in request.proto_file for name, message in _messages(file)}
    by_name = {file.name: file for file in request.proto_file}
    wanted = [by_name[name] for name in request.file_to_generate]
    return [_file(file, messages) for file in wanted if file.service]


def _messages(file: FileDescriptorProto) -> Iterator[tuple[str, Message]]:
    module = module_of(file.name, "_pb2")
    prefix = f".{file.package}" if file.package else ""

    def walk(
        types: Sequence[DescriptorProto], outer: tuple[str, ...]
    ) -> Iterator[tuple[str, Message]]:
        for kind in types:
            path = (*outer, kind.name)
            yield f"{prefix}.{'.'.join(path)}", Message(module, path)
            yield from walk(kind.nested_type, path)

    return walk(file.message_type, ())


def _file(file: FileDescriptorProto, messages: dict[str, Message]) -> File:
    comments = {tuple(place.path): _comment(place) for place in file.source_code_info.location}
    services = []
    for index, service in enumerate(file.service):
        full_name = f"{file.package}.{service.name}" if file.package else service.name
        names = python_names([method.name for method in service.method])
        methods = [
            _method(
                method,
                name,
                full_name,
                comments.get((_SERVICE, index, _METHOD, number), ""),
                messages,
            )
            for number, (method, name) in enumerate(zip(service.method, names, strict=True))
        ]
        services.append(
            Service(
                name=service.name,
                full_name=full_name,
                methods=tuple(methods),
                comment=comments.get((_SERVICE, index), ""),
                deprecated=service.options.deprecated or file.options.deprecated,
            )
        )
    return File(file.name, tuple(services))


def _method(
    method: MethodDescriptorProto,
    name: str,
    service: str,
    comment: str,
    messages: dict[str, Message],
) -> Method:
    for wanted in (method.input_type, method.output_type):
        if wanted not in messages:
            raise ValueError(f"{service}.{method.name}: no file defines {wanted}")
    return Method(
        name=name,
        path=f"/{service}/{method.name}",
        request=messages[method.input_type],
        reply=messages[method.output_type],
        client_streaming=method.client_streaming,
        server_streaming=method.server_streaming,
        comment=comment,
        deprecated=method.options.deprecated,
    )


def _comment(place: SourceCodeInfo.Location) -> str:
    return place.leading_comments or place.trailing_comments


def python_names(names: Collection[str]) -> list[str]:
    """Names for methods, in order: the proto's own, but for what Python or we would trip over.

    A keyword gets an underscore behind it (PEP 8). A leading underscore gets `rpc` before it:
    names with two are mangled in a class or mean something to Python, those with one are ours.
    """
    taken = {name for name in names if not _awkward(name)}
    result = []
    for name in names:
        if _awkward(name):
            name = f"rpc{name}" if name.startswith("_") else f"{name}_"
            while name in taken:
                name += "_"
            taken.add(name)
        result.append(name)
    return result


def _awkward(name: str) -> bool:
    return keyword.iskeyword(name) or name.startswith("_")
