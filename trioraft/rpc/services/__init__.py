"""The services that gRPC tools expect of a server: health, reflection, channelz.

    health = HealthService()
    services = [Greeter(), health]
    await serve([*services, *reflection_services(services)], port=50051)

Not imported by `trioraft.rpc`: who serves none of them does not load their messages.
"""

from .health import HealthService, ServingStatus

__all__ = ["HealthService", "ServingStatus"]
