"""An in-memory network between named hosts, with TCP's behaviour and faults on demand.

`async with SimNetwork(rng) as network` gives `listen` and `dial`; the streams they make go
wherever the code under test takes a `trio.abc.Stream`. Delays come from the generator that is
handed in and time from Trio's clock, so under `run_seeded` the same seed gives the same
network, byte for byte. Link by link it can be slowed, blocked (bytes wait as under TCP
retransmission, or are lost), healed, or have its connections cut at a byte; a host can be
killed like a process.

What it leaves out: acknowledgements take no time of their own, and a stalled connection stalls
until it heals, as no retransmission limit ends it.
"""

from .links import LinkSettings
from .listener import SimListener
from .network import SimNetwork
from .stream import SimStream

__all__ = ["LinkSettings", "SimListener", "SimNetwork", "SimStream"]
