"""The services that gRPC tools expect of a server: health, reflection, channelz.

    health = HealthService()
    services = [Greeter(), health]
    await serve([*services, ReflectionService(services)], port=50051)

Not imported by `trioraft.rpc`: who serves none of them does not load their messages.
"""

from .health import HealthService, ServingStatus
from .reflection import ReflectionService

__all__ = ["HealthService", "ReflectionService", "ServingStatus"]
