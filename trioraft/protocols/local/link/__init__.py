"""The link between two hosts: heartbeats of all their common groups in one stream, and rest."""

from .client import HostLink
from .service import LinkService, RestDesk
from .settings import LinkSettings
from .transport import LinkedTransport

__all__ = ["HostLink", "LinkService", "LinkSettings", "LinkedTransport", "RestDesk"]
