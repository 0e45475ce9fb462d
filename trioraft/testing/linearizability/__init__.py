"""Is what clients saw explained by one object that does one thing at a time?

`History` records calls, a `Model` says what the object is, `check` judges.
"""

from .cells import KeyValue, Register
from .check import NotLinearizableError, Report, Violation, assert_linearizable, check
from .history import Call, History, Operation
from .models import IMPOSSIBLE, Counter, ListAppend, Model

__all__ = [
    "IMPOSSIBLE",
    "Call",
    "Counter",
    "History",
    "KeyValue",
    "ListAppend",
    "Model",
    "NotLinearizableError",
    "Operation",
    "Register",
    "Report",
    "Violation",
    "assert_linearizable",
    "check",
]
