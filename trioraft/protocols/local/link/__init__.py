"""The link between two hosts: heartbeats of all their common groups in one stream, and rest."""

from .client import HostLink, LinkSettings
from .service import LinkService, RestDesk
from .transport import LinkedTransport

__all__ = ["HostLink", "LinkService", "LinkSettings", "LinkedTransport", "RestDesk"]
