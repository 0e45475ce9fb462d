"""The etcd data model as a replicated state machine: keys with revisions, history, transactions."""

from __future__ import annotations

from .codec import Reply, Tag, decode_reply, encode_error, encode_reply
from .errors import KvError
from .machine import KvMachine

__all__ = [
    "KvError",
    "KvMachine",
    "Reply",
    "Tag",
    "decode_reply",
    "encode_error",
    "encode_reply",
]
