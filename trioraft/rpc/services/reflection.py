"""Server reflection: clients such as grpcurl learn from a server itself what it offers.

Source: gRPC server reflection protocol (server-reflection.md), v1 and v1alpha.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from google.protobuf.descriptor import FileDescriptor
from grpclib.const import Handler

from trioraft._proto.grpc import reflection_alpha_pb2
from trioraft._proto.grpc.reflection_grpc import ServerReflectionBase
from trioraft._proto.grpc.reflection_pb2 import (
    ErrorResponse,
    ExtensionNumberResponse,
    FileDescriptorResponse,
    ListServiceResponse,
    ServerReflectionRequest,
    ServerReflectionResponse,
    ServiceResponse,
)
from trioraft.rpc.server.service import Service
from trioraft.rpc.status import Status

from .catalogue import Catalogue, with_dependencies, with_json_names

if TYPE_CHECKING:
    from grpclib.server import Stream

__all__ = ["ReflectionService"]

#: Bytes of descriptors in one answer above which dependencies are left for the client to ask for.
MAX_FILES = 1 << 20


_ALPHA = reflection_alpha_pb2.DESCRIPTOR.services_by_name["ServerReflection"].full_name


class ReflectionService(ServerReflectionBase):
    """Describes `services` and itself, as v1 and as v1alpha.

        await serve([*services, ReflectionService(services)])

    It tells whatever is in the protobuf pools of their messages, which includes files that none
    of the services uses: descriptors are no secret to keep from callers of this service.

    An answer has the file and, unless the call has had them before, the files that it imports, of
    1 MiB together; a client asks for what is missing by name. What is not known is answered with
    NOT_FOUND inside the stream, which goes on.
    """

    def __init__(self, services: Collection[Service]) -> None:
        self._catalogue = Catalogue([*services, self])

    def __mapping__(self) -> dict[str, Handler]:
        # The messages of the two versions are the same but for their names, which do not travel.
        [(path, handler)] = super().__mapping__().items()
        return {path: handler, f"/{_ALPHA}/{path.rpartition('/')[2]}": handler}

    async def ServerReflectionInfo(
        self, stream: Stream[ServerReflectionRequest, ServerReflectionResponse]
    ) -> None:
        """Answer each request, in order, until the caller is done."""
        sent: dict[str, None] = {}
        async for request in stream:
            reply = ServerReflectionResponse(valid_host=request.host, original_request=request)
            try:
                self._answer(request, reply, sent)
            except KeyError as error:
                _refuse(reply, Status.NOT_FOUND, f"not found: {error.args[0]}")
            await stream.send_message(reply)

    def _answer(
        self,
        request: ServerReflectionRequest,
        reply: ServerReflectionResponse,
        sent: dict[str, None],
    ) -> None:
        """Fill the reply in. Raises KeyError for what is not known."""
        match request.WhichOneof("message_request"):
            case "list_services":
                names = [ServiceResponse(name=name) for name in self._catalogue.names]
                reply.list_services_response.CopyFrom(ListServiceResponse(service=names))
            case "file_by_filename":
                _put_files(reply, self._catalogue.file(request.file_by_filename), sent)
            case "file_containing_symbol":
                _put_files(reply, self._catalogue.file_of(request.file_containing_symbol), sent)
            case "file_containing_extension":
                wanted = request.file_containing_extension
                file = self._catalogue.file_of_extension(
                    wanted.containing_type, wanted.extension_number
                )
                _put_files(reply, file, sent)
            case "all_extension_numbers_of_type":
                name = request.all_extension_numbers_of_type
                numbers = self._catalogue.extension_numbers(name)
                reply.all_extension_numbers_response.CopyFrom(
                    ExtensionNumberResponse(base_type_name=name, extension_number=numbers)
                )
            case _:
                _refuse(reply, Status.INVALID_ARGUMENT, "the request asks for nothing we know")


def _put_files(
    reply: ServerReflectionResponse, wanted: FileDescriptor, sent: dict[str, None]
) -> None:
    """The wanted file, always, and those of its imports that are new to this call and fit."""
    files = [with_json_names(wanted.serialized_pb)]
    sent[wanted.name] = None
    size = len(files[0])
    for file in with_dependencies(wanted):
        if file.name in sent:
            continue
        serialized = with_json_names(file.serialized_pb)
        size += len(serialized)
        if size > MAX_FILES:
            break
        files.append(serialized)
        sent[file.name] = None
    reply.file_descriptor_response.CopyFrom(FileDescriptorResponse(file_descriptor_proto=files))


def _refuse(reply: ServerReflectionResponse, status: Status, message: str) -> None:
    reply.error_response.CopyFrom(ErrorResponse(error_code=status.value, error_message=message))
