"""What a leader keeps count of: each follower's `progress` and what is `inflight` to it, what a
`quorum` agrees on, and the `reads` that wait for one.
"""

from .inflight import Inflight
from .progress import Progress, ProgressState
from .quorum import Quorum, Tally

__all__ = ["Inflight", "Progress", "ProgressState", "Quorum", "Tally"]
