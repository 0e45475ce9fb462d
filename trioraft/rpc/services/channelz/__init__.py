"""channelz: what a process has open, and how much has gone through it, asked over gRPC.

Source: gRPC proposal A14 (channelz), grpc.channelz.v1.
"""

from .service import ChannelzService

__all__ = ["ChannelzService"]
