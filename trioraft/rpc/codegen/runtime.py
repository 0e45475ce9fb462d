"""All that generated code imports. What is here stays, so that it keeps working."""

from grpclib.const import Handler

from trioraft.rpc.client.channel import Channel

from .calls import (
    CallOptions,
    Replies,
    ReplyMetadata,
    Requests,
    StreamStreamCall,
    StreamUnaryCall,
    UnaryStreamCall,
    Upload,
)
from .calls import stream_stream as call_stream_stream
from .calls import stream_unary as call_stream_unary
from .calls import unary_stream as call_unary_stream
from .calls import unary_unary as call_unary_unary
from .deprecation import deprecated
from .handlers import stream_stream as serve_stream_stream
from .handlers import stream_unary as serve_stream_unary
from .handlers import unary_stream as serve_unary_stream
from .handlers import unary_unary as serve_unary_unary
from .handlers import unimplemented

__all__ = [
    "CallOptions",
    "Channel",
    "Handler",
    "Replies",
    "ReplyMetadata",
    "Requests",
    "StreamStreamCall",
    "StreamUnaryCall",
    "UnaryStreamCall",
    "Upload",
    "call_stream_stream",
    "call_stream_unary",
    "call_unary_stream",
    "call_unary_unary",
    "deprecated",
    "serve_stream_stream",
    "serve_stream_unary",
    "serve_unary_stream",
    "serve_unary_unary",
    "unimplemented",
]
