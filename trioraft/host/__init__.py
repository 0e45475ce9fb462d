"""The host: wires dialects, groups, storage and listeners together, above all of them."""

from trioraft.protocols.local.link import LinkSettings

from .collector import tune_collector
from .environment import Environment, RealEnvironment
from .health import follow_health
from .host import Host
from .kv import KvBackend
from .members import parse_peers
from .node import Node
from .open import open_node
from .options import HostOptions
from .resting import RestSettings
from .server import Server, open_server
from .statuses import grpc_errors

__all__ = [
    "Environment",
    "Host",
    "HostOptions",
    "KvBackend",
    "LinkSettings",
    "Node",
    "RealEnvironment",
    "RestSettings",
    "Server",
    "follow_health",
    "grpc_errors",
    "open_node",
    "open_server",
    "parse_peers",
    "tune_collector",
]
