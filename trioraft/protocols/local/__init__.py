"""trioraft's own protocol: forwarding between its nodes, and status for its tools."""

from .errors import ERROR_TRAILER, error_of, status_of
from .forwarder import GrpcForwarder
from .service import GroupAccess, NodeAccess, NodeService, status_message

__all__ = [
    "ERROR_TRAILER",
    "GroupAccess",
    "GrpcForwarder",
    "NodeAccess",
    "NodeService",
    "error_of",
    "status_message",
    "status_of",
]
