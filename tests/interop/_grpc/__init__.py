"""gRPC's official interoperability suite on trioraft: the test service, and a client for its cases.

    cd tests/interop
    python -m _grpc.server --port=10000
    python -m _grpc.client --server_port=10000 --test_case=large_unary

Flags and cases are those of every gRPC implementation's interop binaries (grpc/grpc,
doc/interop-test-descriptions.md), so either side can be tried against anybody's other. The server
is on stubs by protoc-gen-trioraft, the client on stubs by grpclib's plugin: both are exercised.
Beside them are the same two on the official grpcio package, what builds grpc-go's binaries, and
servers that behave badly on HTTP/2's level (doc/negative-http2-interop-test-descriptions.md).
"""
