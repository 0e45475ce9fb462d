"""dRPC on Unix sockets: calls to methods of modules, both named by number, as in DAOS.

`serve_drpc` and `open_drpc` carry them as gRPC. The dispatcher and the socket-file rules know
nothing of that transport and serve any other as they are. Nothing here knows of Raft.
"""

from .client import DrpcClient, open_drpc
from .dispatcher import Dispatcher
from .errors import (
    DrpcError,
    DrpcFailure,
    DrpcProtocolError,
    DrpcStatus,
    DrpcUnavailableError,
    MarshalError,
    SocketFileError,
    UnknownMethodError,
    UnknownModuleError,
)
from .module import Caller, Method, Module, typed
from .server import serve_drpc

__all__ = [
    "Caller",
    "Dispatcher",
    "DrpcClient",
    "DrpcError",
    "DrpcFailure",
    "DrpcProtocolError",
    "DrpcStatus",
    "DrpcUnavailableError",
    "MarshalError",
    "Method",
    "Module",
    "SocketFileError",
    "UnknownMethodError",
    "UnknownModuleError",
    "open_drpc",
    "serve_drpc",
    "typed",
]
