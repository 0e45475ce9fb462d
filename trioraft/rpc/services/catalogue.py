"""What is known of a server's services: their names, and the files that describe them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import lru_cache
from typing import Any, TypeVar

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

from trioraft.rpc.server.service import Service

__all__ = ["Catalogue", "with_dependencies", "with_json_names"]

T = TypeVar("T")


class Catalogue:
    """Descriptors of services, from the pools that their messages live in.

    What is not in pools of their own is looked for in protobuf's default pool. There are the
    descriptors of services whose methods take plain bytes, too, once a generated module of them
    is imported.
    Lookups raise KeyError for what is not known.
    """

    def __init__(self, services: Collection[Service]) -> None:
        names: dict[str, None] = {}
        default = descriptor_pool.Default()
        pools: list[DescriptorPool] = []
        for service in services:
            for path, handler in service.__mapping__().items():
                names[path.strip("/").partition("/")[0]] = None
                for kind in (handler.request_type, handler.reply_type):
                    descriptor = getattr(kind, "DESCRIPTOR", None)
                    if descriptor is not None and descriptor.file.pool not in (*pools, default):
                        pools.append(descriptor.file.pool)
        self._pools = [*pools, default]
        #: Full names of the services, sorted.
        self.names: tuple[str, ...] = tuple(sorted(names))

    def file(self, name: str) -> FileDescriptor:
        """The file called `name`, as others import it."""
        return self._first(name, lambda pool: pool.FindFileByName(name))

    def file_of(self, symbol: str) -> FileDescriptor:
        """The file that defines `symbol`: a message, service, method, field, extension, ..."""
        return self._first(symbol, lambda pool: _file_of(pool, symbol))

    def file_of_extension(self, message: str, number: int) -> FileDescriptor:
        """The file with the extension of `message` that has the field number."""

        def find(pool: DescriptorPool) -> FileDescriptor:
            extended = pool.FindMessageTypeByName(message)
            extension: Any = pool.FindExtensionByNumber(extended, number)  # typed without `file`
            found: FileDescriptor = extension.file
            return found

        return self._first(f"extension {number} of {message}", find)

    def extension_numbers(self, message: str) -> list[int]:
        """The field numbers of all extensions of `message`, sorted."""
        found: dict[int, None] = {}
        known = False
        for pool in self._pools:
            try:
                extended = pool.FindMessageTypeByName(message)
            except KeyError:
                continue
            known = True
            for extension in pool.FindAllExtensions(extended):
                found[extension.number] = None
        if not known:
            raise KeyError(message)
        return sorted(found)

    def _first(self, what: str, find: Callable[[DescriptorPool], T]) -> T:
        for pool in self._pools:
            try:
                return find(pool)
            except KeyError:
                continue
        raise KeyError(what)


def with_dependencies(file: FileDescriptor) -> Iterator[FileDescriptor]:
    """The file, then everything that it imports, each once and nearest first."""
    seen = {file.name: None}
    waiting = [file]
    for current in waiting:
        yield current
        for dependency in current.dependencies:
            if dependency.name not in seen:
                seen[dependency.name] = None
                waiting.append(dependency)


@lru_cache(maxsize=256)
def with_json_names(file: bytes) -> bytes:
    """A serialized file, each field with its name in JSON, as protoc describes it.

    protobuf's Python plugin leaves them out, and clients such as grpcurl print messages by them.
    """
    proto = FileDescriptorProto.FromString(file)
    _name_fields(proto.message_type)
    return proto.SerializeToString()


def _name_fields(messages: Iterable[DescriptorProto]) -> None:
    for message in messages:
        for field in message.field:
            if not field.HasField("json_name"):
                field.json_name = re.sub("_+(.?)", lambda found: found[1].upper(), field.name)
        _name_fields(message.nested_type)


def _file_of(pool: DescriptorPool, symbol: str) -> FileDescriptor:
    """The pool's own lookup, and for methods and oneofs, which it does not know, that of their
    parent."""
    try:
        return pool.FindFileContainingSymbol(symbol)
    except KeyError:
        parent, _, name = symbol.rpartition(".")
    try:
        service = pool.FindServiceByName(parent)
    except KeyError:
        message = pool.FindMessageTypeByName(parent)
        return message.oneofs_by_name[name].containing_type.file
    return service.methods_by_name[name].containing_service.file
