"""Clients for applications: they find the leader, follow it, and survive the loss of nodes."""

from .client import Client, open_client
from .etcd import EtcdClient, open_etcd
from .failover import RetryPolicy

__all__ = ["Client", "EtcdClient", "RetryPolicy", "open_client", "open_etcd"]
