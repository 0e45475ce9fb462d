"""gRPC on Trio: a client and a server over HTTP/2, run by nurseries and cancel scopes.

Code that protoc's grpclib plugin generates runs on it unchanged. Knows nothing of Raft.

    await serve([Greeter()], host="127.0.0.1", port=50051)

    async with open_channel("127.0.0.1:50051") as channel:
        reply = await GreeterStub(channel).SayHello(HelloRequest(name="Ada"), timeout=1)
"""

from grpclib.const import Cardinality, Handler

from .client.channel import Channel, open_channel
from .client.stream import ClientStream
from .client.dialling import Dial, DialAddress
from .codegen.calls import ReplyMetadata
from .codegen.handlers import current_call
from .compression import Codec, Compression
from .interceptors import ClientCall, ClientInterceptor, ServerCall, ServerInterceptor
from .limits import Limits
from .metadata import Metadata, MetadataLike
from .peer import Peer
from .server.in_place import InPlaceCall
from .server.service import InPlaceHandler, Intercepted, Limited, Service
from .server.serving import serve
from .server.stream import ServerStream
from .status import GRPCError, ProtocolError, Status
from .timeout import Deadline
from .wire.framing import Encoded

__all__ = [
    "Cardinality",
    "Channel",
    "ClientCall",
    "ClientInterceptor",
    "ClientStream",
    "Codec",
    "Compression",
    "Deadline",
    "Dial",
    "Encoded",
    "GRPCError",
    "Handler",
    "InPlaceCall",
    "InPlaceHandler",
    "Intercepted",
    "Limited",
    "Limits",
    "Metadata",
    "MetadataLike",
    "Peer",
    "ProtocolError",
    "ReplyMetadata",
    "ServerCall",
    "ServerInterceptor",
    "ServerStream",
    "Service",
    "Status",
    "current_call",
    "open_channel",
    "serve",
]
