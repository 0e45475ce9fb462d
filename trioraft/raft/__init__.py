"""The consensus core: Raft as a pure function of messages, time and disk reports. No I/O."""

from .config import RaftConfig, count_terms
from .core import Message, RaftCore
from .leadership import ChangePhase
from .log import RaftLog
from .membership import ChangeMode, MembershipChange
from .ready import LoadEntries, Ready, SoftState
from .tracking.progress import Progress, ProgressState
from .tracking.quorum import Quorum, Tally

__all__ = [
    "ChangeMode",
    "ChangePhase",
    "LoadEntries",
    "MembershipChange",
    "Message",
    "Progress",
    "ProgressState",
    "Quorum",
    "RaftConfig",
    "RaftCore",
    "RaftLog",
    "Ready",
    "SoftState",
    "Tally",
    "count_terms",
]
