"""gRPC on Trio: a client and a server over HTTP/2, run by nurseries and cancel scopes.

Code that protoc's grpclib plugin generates runs on it unchanged. Knows nothing of Raft.

    await serve([Greeter()], host="127.0.0.1", port=50051)

    async with open_channel("127.0.0.1:50051") as channel:
        reply = await GreeterStub(channel).SayHello(HelloRequest(name="Ada"), timeout=1)
"""

from grpclib.const import Cardinality, Handler

from .client.balancing import Balancing, PickFirst, RoundRobin, WeightedRoundRobin
from .client.calls.stream import ClientStream
from .client.channel import Channel, open_channel
from .client.config.service_config import ServiceConfig, parse_service_config
from .client.connections.connectivity import ConnectivityState
from .client.connections.dialling import Dial, DialAddress
from .client.connections.keepalive import Keepalive
from .client.naming.address import Address
from .client.naming.resolver import (
    DnsResolver,
    PollingResolver,
    Resolution,
    Resolver,
    ResolverUpdates,
)
from .client.options import ChannelOptions
from .client.retrying.attempt import AttemptObserver
from .codegen.calls import ReplyMetadata
from .codegen.handlers import current_call
from .compression import Codec, Compression
from .credentials import CachedToken, CallCredentials, CallInfo, Token
from .interceptors import ClientCall, ClientInterceptor, ServerCall, ServerInterceptor
from .limits import Limits
from .metadata import Metadata, MetadataLike
from .peer import Peer, UnixCredentials
from .server.in_place import InPlaceCall
from .server.life.rules import ConnectionLifetime, ServerKeepalive
from .server.listening.endpoints import (
    Bound,
    Endpoint,
    Systemd,
    Tcp,
    Unix,
    UnixAbstract,
    parse_endpoint,
)
from .server.options import ServerOptions
from .server.server import Server
from .server.service import (
    InPlaceHandler,
    Intercepted,
    Limited,
    Service,
    Stoppable,
    Unawaited,
)
from .server.serving import open_server, serve
from .server.signals import serve_until_signal
from .server.stream import ServerStream
from .server.unknown import UnknownHandler
from .status import GRPCError, ProtocolError, Status
from .timeout import Deadline
from .tls.contexts import ClientTls, ServerTls, client_tls, server_tls
from .tls.identity import Certificate
from .wire.framing import Encoded

__all__ = [
    "Address",
    "AttemptObserver",
    "Balancing",
    "Bound",
    "CachedToken",
    "CallCredentials",
    "CallInfo",
    "Cardinality",
    "Certificate",
    "Channel",
    "ChannelOptions",
    "ClientCall",
    "ClientInterceptor",
    "ClientStream",
    "ClientTls",
    "Codec",
    "Compression",
    "ConnectionLifetime",
    "ConnectivityState",
    "Deadline",
    "Dial",
    "DialAddress",
    "DnsResolver",
    "Encoded",
    "Endpoint",
    "GRPCError",
    "Handler",
    "InPlaceCall",
    "InPlaceHandler",
    "Intercepted",
    "Keepalive",
    "Limited",
    "Limits",
    "Metadata",
    "MetadataLike",
    "Peer",
    "PickFirst",
    "PollingResolver",
    "ProtocolError",
    "ReplyMetadata",
    "Resolution",
    "Resolver",
    "ResolverUpdates",
    "RoundRobin",
    "Server",
    "ServerCall",
    "ServerInterceptor",
    "ServerKeepalive",
    "ServerOptions",
    "ServerStream",
    "ServerTls",
    "Service",
    "ServiceConfig",
    "Status",
    "Stoppable",
    "Systemd",
    "Tcp",
    "Token",
    "Unawaited",
    "Unix",
    "UnixAbstract",
    "UnixCredentials",
    "UnknownHandler",
    "WeightedRoundRobin",
    "client_tls",
    "current_call",
    "open_channel",
    "open_server",
    "parse_endpoint",
    "parse_service_config",
    "serve",
    "serve_until_signal",
    "server_tls",
]
