"""The services that gRPC tools expect of a server: health, reflection, channelz, load.

    health = HealthService()
    services = [Greeter(), health]
    await serve([*services, ReflectionService(services)], port=50051)

Not imported by `trioraft.rpc`: who serves none of them does not load their messages.
"""

from trioraft.rpc.registry import Registry

from .channelz import ChannelzService
from .health import HealthService, ServingStatus
from .orca import OrcaService
from .reflection import ReflectionService

__all__ = [
    "ChannelzService",
    "HealthService",
    "OrcaService",
    "ReflectionService",
    "Registry",
    "ServingStatus",
]
