"""Which case runs between whom: the table of docs/rpc-interop.md, as the tests take it."""

from __future__ import annotations

#: The cases of the suite that need nothing but a client and a server.
CORE = (
    "empty_unary",
    "large_unary",
    "client_compressed_unary",
    "server_compressed_unary",
    "client_streaming",
    "client_compressed_streaming",
    "server_streaming",
    "server_compressed_streaming",
    "ping_pong",
    "empty_stream",
    "timeout_on_sleeping_server",
    "cancel_after_begin",
    "cancel_after_first_response",
    "status_code_and_message",
    "special_status_message",
    "custom_metadata",
    "unimplemented_method",
    "unimplemented_service",
    "orca_per_rpc",
    "orca_oob",
)
#: Those that grpc-go's own binaries lack, see `go/compression`.
COMPRESSED = tuple(name for name in CORE if "compressed" in name)
FURTHER = ("pick_first_unary", "rpc_soak", "channel_soak")
#: What only our own client has, of these peers'.
OURS = ("long_lived_channel", "concurrent_large_unary")

#: Our client on each server.
ON_SERVERS = {
    "trioraft": (*CORE, *FURTHER, *OURS),
    # grpc-go's library compresses all replies of a call or none; its server does not say who it is.
    "grpc-go": tuple(
        name
        for name in (*CORE, *FURTHER, *OURS)
        if name not in ("server_compressed_streaming", "pick_first_unary")
    ),
    "grpcio": (*CORE, *FURTHER, *OURS),
}

#: Each client on our server.
BY_CLIENTS = {
    "grpc-go": (*CORE, *FURTHER),
    # Its client has nothing that would read the reports.
    "grpcio": tuple(name for name in (*CORE, *FURTHER) if not name.startswith("orca")),
}

#: Needs a server whose connections have two streams: ours, or grpcio's.
SCALING = "max_concurrent_streams_connection_scaling"
SCALING_FLAG = "--max_concurrent_streams=2"

#: Cases that are run over TLS, too: one of each kind of call, metadata, and each way to end.
OVER_TLS = (
    "empty_unary",
    "large_unary",
    "ping_pong",
    "custom_metadata",
    "cancel_after_first_response",
    "special_status_message",
)
