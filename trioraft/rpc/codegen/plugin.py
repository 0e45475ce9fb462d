"""protoc-gen-trioraft: protoc runs it with a request on its input, and takes its output.

    protoc -I. --python_out=. --pyi_out=. --trioraft_out=. greeter.proto

Source: plugin.proto of Protocol Buffers.
"""

from __future__ import annotations

import sys

from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse
from google.protobuf.descriptor_pb2 import Edition

from .render import output_name, render
from .schema import read_files

__all__ = ["generate", "main"]

# Services are the same in every edition.
_FIRST_EDITION = Edition.EDITION_PROTO2
_LAST_EDITION = Edition.EDITION_2024


def generate(request: CodeGeneratorRequest) -> CodeGeneratorResponse:
    """The response to protoc's request; what is wrong with the request is its `error`."""
    response = CodeGeneratorResponse(
        supported_features=CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL
        | CodeGeneratorResponse.FEATURE_SUPPORTS_EDITIONS,
        minimum_edition=_FIRST_EDITION,
        maximum_edition=_LAST_EDITION,
    )
    if request.parameter:
        response.error = f"protoc-gen-trioraft has no options, got {request.parameter!r}"
        return response
    try:
        files = read_files(request)
    except ValueError as error:
        response.error = str(error)
        return response
    for file in files:
        response.file.add(name=output_name(file.source), content=render(file))
    return response


def main() -> None:
    """The program. Prints help if a person runs it."""
    if sys.stdin.isatty():
        raise SystemExit(__doc__)
    request = CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
    sys.stdout.buffer.write(generate(request).SerializeToString())


if __name__ == "__main__":
    main()
