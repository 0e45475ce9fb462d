"""Server reflection: our answers read by hand, and by grpcio's reflection client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import trio
from echo_pb2 import EchoReply, EchoRequest
from echo_service import Echo, in_memory, serving
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from trioraft._proto.grpc.reflection_alpha_grpc import ServerReflectionStub as AlphaStub
from trioraft._proto.grpc.reflection_alpha_pb2 import ServerReflectionRequest as AlphaRequest
from trioraft._proto.grpc.reflection_grpc import ServerReflectionStub
from trioraft._proto.grpc.reflection_pb2 import (
    ExtensionRequest,
    ServerReflectionRequest,
    ServerReflectionResponse,
)
from trioraft.rpc import Cardinality, Channel, Encoded, Handler
from trioraft.rpc.services import HealthService, ReflectionService, catalogue, reflection

OURS = ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"]
ECHO = "trioraft.testing.Echo"


def pool_with_extensions() -> descriptor_pool.DescriptorPool:
    """What no file here has: a proto2 message with extensions, one in a file of its own."""
    pool = descriptor_pool.DescriptorPool()
    base = descriptor_pb2.FileDescriptorProto(name="t/base.proto", package="t", syntax="proto2")
    message = base.message_type.add(name="Base")
    message.extension_range.add(start=100, end=200)
    message.oneof_decl.add(name="choice")
    message.field.add(name="a", number=1, type=9, label=1, oneof_index=0)
    base.extension.add(name="near", extendee=".t.Base", number=150, type=9, label=1)
    service = base.service.add(name="Things")
    service.method.add(name="Get", input_type=".t.Base", output_type=".t.Base")
    pool.AddSerializedFile(base.SerializeToString())
    more = descriptor_pb2.FileDescriptorProto(
        name="t/more.proto", package="t", syntax="proto2", dependency=["t/base.proto"]
    )
    more.extension.add(name="far", extendee=".t.Base", number=120, type=9, label=1)
    pool.AddSerializedFile(more.SerializeToString())
    return pool


class Things:
    """A service of that pool."""

    def __init__(self) -> None:
        self.pool = pool_with_extensions()
        self.kind = message_factory.GetMessageClass(self.pool.FindMessageTypeByName("t.Base"))

    def __mapping__(self) -> dict[str, Handler]:
        return {"/t.Things/Get": Handler(self._get, Cardinality.UNARY_UNARY, self.kind, self.kind)}

    async def _get(self, stream: Any) -> None:
        raise AssertionError("nobody calls it")


class Bytes:
    """A service that takes bytes, under a path that is described nowhere."""

    def __init__(self, path: str = "/x.Raw/Get") -> None:
        self._path = path

    def __mapping__(self) -> dict[str, Handler]:
        return {self._path: Handler(self._get, Cardinality.UNARY_UNARY, Encoded, Encoded)}

    async def _get(self, stream: Any) -> None:
        raise AssertionError("nobody calls it")


SERVICES = [Echo(), HealthService(), Things(), Bytes()]


@pytest.fixture
async def channel() -> AsyncIterator[Channel]:
    async with in_memory([*SERVICES, ReflectionService(SERVICES)]) as (channel, _):
        yield channel


async def ask(channel: Channel, *requests: Any) -> list[ServerReflectionResponse]:
    return await ServerReflectionStub(channel).ServerReflectionInfo(list(requests))


def symbol(name: str) -> ServerReflectionRequest:
    return ServerReflectionRequest(file_containing_symbol=name)


def files(reply: ServerReflectionResponse) -> list[str]:
    """Names of the files in an answer."""
    assert reply.WhichOneof("message_response") == "file_descriptor_response", reply
    return [
        descriptor_pb2.FileDescriptorProto.FromString(raw).name
        for raw in reply.file_descriptor_response.file_descriptor_proto
    ]


async def test_services_are_listed(channel: Channel) -> None:
    request = ServerReflectionRequest(host="h", list_services="*")
    [reply] = await ask(channel, request)
    names = [service.name for service in reply.list_services_response.service]
    assert names == ["grpc.health.v1.Health", *OURS, "t.Things", ECHO, "x.Raw"]
    assert (reply.valid_host, reply.original_request) == ("h", request)


async def test_alpha_clients_get_the_same(channel: Channel) -> None:
    request = AlphaRequest(file_containing_symbol=ECHO)
    [reply] = await AlphaStub(channel).ServerReflectionInfo([request])
    assert reply.original_request == request
    [expected] = await ask(channel, symbol(ECHO))
    assert list(reply.file_descriptor_response.file_descriptor_proto) == list(
        expected.file_descriptor_response.file_descriptor_proto
    )


@pytest.mark.parametrize(
    ("name", "file"),
    [
        (ECHO, "echo.proto"),
        (f"{ECHO}.Unary", "echo.proto"),
        ("trioraft.testing.EchoRequest", "echo.proto"),
        ("trioraft.testing.EchoRequest.payload", "echo.proto"),
        ("t.Base.choice", "t/base.proto"),
        ("t.far", "t/more.proto"),
        ("grpc.health.v1.HealthCheckResponse.ServingStatus", "trioraft/_proto/grpc/health.proto"),
        (f"{OURS[1]}.ServerReflectionInfo", "trioraft/_proto/grpc/reflection_alpha.proto"),
    ],
)
async def test_symbols(channel: Channel, name: str, file: str) -> None:
    [reply] = await ask(channel, symbol(name))
    assert files(reply)[0] == file


async def test_what_is_unknown_does_not_end_the_stream(channel: Channel) -> None:
    extension = ServerReflectionRequest(
        file_containing_extension=ExtensionRequest(containing_type="t.Base", extension_number=101)
    )
    unknown = [
        symbol("x.Raw"),
        symbol(f"{ECHO}.Nothing"),
        symbol("t.Base.nothing"),
        symbol(""),
        symbol("." * 1000),
        ServerReflectionRequest(file_by_filename="no/such.proto"),
        ServerReflectionRequest(all_extension_numbers_of_type="no.Such"),
        extension,
    ]
    replies = await ask(channel, *unknown, ServerReflectionRequest(), symbol(ECHO))
    assert [reply.error_response.error_code for reply in replies] == [5] * 8 + [3, 0]
    assert "x.Raw" in replies[0].error_response.error_message


async def test_extensions(channel: Channel) -> None:
    numbers, near, far = await ask(
        channel,
        ServerReflectionRequest(all_extension_numbers_of_type="t.Base"),
        *(
            ServerReflectionRequest(
                file_containing_extension=ExtensionRequest(
                    containing_type="t.Base", extension_number=number
                )
            )
            for number in (150, 120)
        ),
    )
    assert numbers.all_extension_numbers_response.base_type_name == "t.Base"
    assert list(numbers.all_extension_numbers_response.extension_number) == [120, 150]
    assert files(near) == ["t/base.proto"]
    assert files(far) == ["t/more.proto"]  # its import has been sent on this call
    [none] = await ask(
        channel,
        ServerReflectionRequest(all_extension_numbers_of_type="trioraft.testing.EchoRequest"),
    )
    assert list(none.all_extension_numbers_response.extension_number) == []


async def test_imports_come_along_once(channel: Channel) -> None:
    by_name = ServerReflectionRequest(file_by_filename="t/more.proto")
    first, again, base = await ask(channel, by_name, by_name, symbol("t.Base"))
    assert files(first) == ["t/more.proto", "t/base.proto"]
    assert files(again) == ["t/more.proto"]
    assert files(base) == ["t/base.proto"]


async def test_large_imports_are_left_to_be_asked_for(
    channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reflection, "MAX_FILES", 10)
    first, base = await ask(channel, symbol("t.far"), symbol("t.Base"))
    assert files(first) == ["t/more.proto"]
    assert files(base) == ["t/base.proto"]


def test_a_service_of_bytes_is_found_in_the_default_pool() -> None:
    service = ReflectionService([Bytes(f"/{ECHO}/Unary")])
    assert service._catalogue.file_of(ECHO).name == "echo.proto"


async def test_grpcios_client_lists_describes_and_calls() -> None:
    """As grpcurl does: with nothing but the address and a method's name."""

    def talk(address: str) -> None:
        with grpc.insecure_channel(address) as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            assert ECHO in database.get_services()
            pool = descriptor_pool.DescriptorPool(database)
            for name in (ECHO, "grpc.health.v1.Health", "t.Things", *OURS):
                assert pool.FindServiceByName(name).full_name == name
            method = pool.FindServiceByName(ECHO).methods_by_name["Unary"]
            request = message_factory.GetMessageClass(method.input_type)
            reply = message_factory.GetMessageClass(method.output_type)
            assert request is not EchoRequest
            call = channel.unary_unary(
                f"/{ECHO}/Unary",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=reply.FromString,
            )
            assert call(request(payload=b"p"), timeout=10).payload == b"p"
            assert list(database.FindAllExtensionNumbers("t.Base")) == [120, 150]
            found = database.FindFileContainingSymbol("t.far")
            assert found.name == "t/more.proto"
            with pytest.raises(KeyError):
                database.FindFileContainingSymbol("x.Raw")

    async with serving([*SERVICES, ReflectionService(SERVICES)]) as address:
        await trio.to_thread.run_sync(talk, address)
    assert EchoReply.DESCRIPTOR.file.pool is descriptor_pool.Default()


def test_fields_are_described_with_their_names_in_json() -> None:
    """Those that protobuf itself knows for them; one that is given stays."""
    names = ["plain", "two_words", "_front", "back_", "a__b", "x_1y", "Upper_case", "a_B_c"]
    file = descriptor_pb2.FileDescriptorProto(name="t/names.proto", package="names")
    outer = file.message_type.add(name="Outer")
    inner = outer.nested_type.add(name="Inner")
    for number, name in enumerate(names, 1):
        inner.field.add(name=name, number=number, type=9, label=1)
    outer.field.add(name="given_name", number=1, type=9, label=1, json_name="other")
    described = descriptor_pb2.FileDescriptorProto.FromString(
        catalogue.with_json_names(file.SerializeToString())
    )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    known: Any = pool.FindMessageTypeByName("names.Outer.Inner")
    fields = described.message_type[0].nested_type[0].field
    assert [field.json_name for field in fields] == [field.json_name for field in known.fields]
    assert described.message_type[0].field[0].json_name == "other"
