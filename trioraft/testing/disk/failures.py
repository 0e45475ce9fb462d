"""Operations that have been ordered to fail."""

from __future__ import annotations

import os
from dataclasses import dataclass

__all__ = ["Failures"]


@dataclass
class _Order:
    operation: str
    path: str
    code: int
    after: int
    times: int | None


class Failures:
    """What has been ordered of one disk, in that order; `SimDisk.fail` says what it means."""

    def __init__(self) -> None:
        self._orders: list[_Order] = []

    def order(self, operation: str, code: int, path: str, after: int, times: int | None) -> None:
        self._orders.append(_Order(operation, path, code, after, times))

    def clear(self) -> None:
        self._orders.clear()

    def check(self, operation: str, path: str) -> None:
        """Raise OSError if this operation is to fail, and count it in any case."""
        for order in self._orders:
            if order.operation not in ("*", operation) or order.path not in path:
                continue
            if order.after > 0:
                order.after -= 1
            elif order.times is None or order.times > 0:
                if order.times is not None:
                    order.times -= 1
                raise OSError(order.code, os.strerror(order.code), path)
