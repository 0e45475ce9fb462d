"""Stubs and handlers on grpcio for a service's descriptor.

Its own plugin would make them, but for modules in a folder with an underscore in front it writes
names that Python mangles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import grpc  # type: ignore[import-untyped]
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from ._gen.grpc_testing_pb2 import DESCRIPTOR

SERVICES: Mapping[str, ServiceDescriptor] = DESCRIPTOR.services_by_name
TEST_SERVICE = SERVICES["TestService"]
UNIMPLEMENTED_SERVICE = SERVICES["UnimplementedService"]


def kind_of(method: MethodDescriptor) -> str:
    """What grpcio calls such methods: `unary_unary` and so on."""
    ends = (method.client_streaming, method.server_streaming)
    return "_".join("stream" if streaming else "unary" for streaming in ends)


class Stub:
    """Has a method for each one of the service's."""

    def __init__(self, channel: Any, service: ServiceDescriptor = TEST_SERVICE) -> None:
        for method in service.methods:
            make = getattr(channel, kind_of(method))
            call = make(
                f"/{service.full_name}/{method.name}",
                request_serializer=GetMessageClass(method.input_type).SerializeToString,
                response_deserializer=GetMessageClass(method.output_type).FromString,
            )
            setattr(self, method.name, call)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the service has no method {name}")


def handlers_of(servicer: object, service: ServiceDescriptor = TEST_SERVICE) -> Any:
    """For `server.add_generic_rpc_handlers`; methods that the servicer lacks are left out."""
    handlers = {}
    for method in service.methods:
        function: Callable[..., Any] | None = getattr(servicer, method.name, None)
        if function is not None:
            make = getattr(grpc, f"{kind_of(method)}_rpc_method_handler")
            handlers[method.name] = make(
                function,
                request_deserializer=GetMessageClass(method.input_type).FromString,
                response_serializer=GetMessageClass(method.output_type).SerializeToString,
            )
    return grpc.method_handlers_generic_handler(service.full_name, handlers)
