"""trioraft's own protocol: forwarding between its nodes, and status for its tools."""

from trioraft.node import WriteResult

from .admin import AdminAccess, AdminGroup, AdminService
from .calling import AnswerLostError
from .errors import ERROR_TRAILER, error_of, status_of
from .forwarder import GrpcForwarder
from .service import GroupAccess, NodeAccess, NodeService, status_message

__all__ = [
    "ERROR_TRAILER",
    "AdminAccess",
    "AdminGroup",
    "AdminService",
    "AnswerLostError",
    "GroupAccess",
    "GrpcForwarder",
    "NodeAccess",
    "NodeService",
    "WriteResult",
    "error_of",
    "status_message",
    "status_of",
]
