"""What the key-value store refuses, with the status and the words that etcd's clients know.

The facts (gRPC code and message of each refusal) are those of etcd's
`api/v3rpc/rpctypes/error.go`; client libraries match on the message text.
"""

from __future__ import annotations

from trioraft.raft.errors import TrioraftError

__all__ = [
    "COMPACTED",
    "DUPLICATE_KEY",
    "EMPTY_KEY",
    "FUTURE_REVISION",
    "INVALID_SORT",
    "KEY_NOT_FOUND",
    "LEASE_NOT_FOUND",
    "LEASE_PROVIDED",
    "MALFORMED",
    "TOO_MANY_OPERATIONS",
    "VALUE_PROVIDED",
    "KvError",
]

INVALID_ARGUMENT = 3
NOT_FOUND = 5
OUT_OF_RANGE = 11

EMPTY_KEY = (INVALID_ARGUMENT, "etcdserver: key is not provided")
KEY_NOT_FOUND = (INVALID_ARGUMENT, "etcdserver: key not found")
VALUE_PROVIDED = (INVALID_ARGUMENT, "etcdserver: value is provided")
LEASE_PROVIDED = (INVALID_ARGUMENT, "etcdserver: lease is provided")
TOO_MANY_OPERATIONS = (INVALID_ARGUMENT, "etcdserver: too many operations in txn request")
DUPLICATE_KEY = (INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request")
INVALID_SORT = (INVALID_ARGUMENT, "etcdserver: invalid sort option")
LEASE_NOT_FOUND = (NOT_FOUND, "etcdserver: requested lease not found")
COMPACTED = (OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted")
FUTURE_REVISION = (OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision")
MALFORMED = (INVALID_ARGUMENT, "etcdserver: request cannot be decoded")


class KvError(TrioraftError):
    """A request that the store refuses; nothing was changed.

    `status` is a gRPC status code (an integer, so that this room needs no gRPC), `message`
    the text for the client. Correct the request; retrying it as it is cannot help.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
