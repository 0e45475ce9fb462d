"""The host: wires dialects, groups, storage and listeners together, above all of them."""

from .environment import Environment, RealEnvironment
from .host import Host
from .kv import KvBackend
from .node import Node
from .open import open_node, parse_peers

__all__ = [
    "Environment",
    "Host",
    "KvBackend",
    "Node",
    "RealEnvironment",
    "open_node",
    "parse_peers",
]
