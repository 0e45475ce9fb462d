"""The code generator `protoc-gen-trioraft`, and the few functions that its output stands on.

For `x.proto` it writes `x_trio.py`: a base class per service, whose handlers are plain
`async def method(self, request) -> reply`, and a typed stub. docs/rpc-codegen.md shows both.

    schema.py     what protoc hands over, reduced to services and names of Python
    render.py     that, as source code
    docstrings.py comments of the proto, as docstrings
    plugin.py     standard input to standard output
    runtime.py    all that generated code imports: handlers.py, calls.py, deprecation.py

Generated code loads the runtime only.
"""
