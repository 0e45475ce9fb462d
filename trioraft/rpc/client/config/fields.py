"""Reading values out of service config JSON: every mistake names the field and the value.

Numbers, durations and names of codes come as protobuf's JSON mapping writes them. Sources:
service_config.proto (grpc-proto), "JSON Mapping" (protobuf.dev).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping
from typing import Any

from trioraft.rpc.status import Status

log = logging.getLogger(__name__)

_DURATION = re.compile(r"(-?)(\d*)(?:\.(\d{0,9}))?s")
_MAX_SECONDS = 315_576_000_000  # some 10,000 years, protobuf's own bound
_MAX_UINT32 = 2**32 - 1


class Fields:
    """One JSON object of a service config, and where it stands.

    null counts as absent everywhere, as in protobuf's JSON. Fields that nobody here knows are left
    alone with a warning: a config is shared by clients of several languages and ages.

    Raises:
        ValueError: It is no object.
    """

    def __init__(self, value: Any, where: str, known: Collection[str]) -> None:
        if not isinstance(value, Mapping):
            raise ValueError(f"service config: {where or 'it'} must be an object, not {value!r}")
        self._fields = value
        self._where = where
        for name in value:
            if name not in known:
                log.warning("service config: %s is not known here", self.path(name))

    def path(self, name: str) -> str:
        """A field of this object, for messages."""
        return f"{self._where}.{name}" if self._where else str(name)

    def wrong(self, name: str, wants: str) -> ValueError:
        """The error for a field with a value that will not do."""
        got = f"not {self._fields[name]!r}" if self.has(name) else "it is missing"
        return ValueError(f"service config: {self.path(name)} must be {wants}: {got}")

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self._fields.get(name) is not None

    def raw(self, name: str) -> Any:
        """The field's JSON value; None if it is absent."""
        return self._fields.get(name)

    def text(self, name: str) -> str | None:
        """A string; None if absent."""
        value = self.raw(name)
        if value is not None and not isinstance(value, str):
            raise self.wrong(name, "a string")
        return value

    def flag(self, name: str) -> bool | None:
        """A boolean; None if absent."""
        value = self.raw(name)
        if value is not None and not isinstance(value, bool):
            raise self.wrong(name, "true or false")
        return value

    def items(self, name: str) -> list[Any]:
        """A list; empty if absent."""
        value = self.raw(name)
        if value is None:
            return []
        if not isinstance(value, list | tuple):
            raise self.wrong(name, "a list")
        return list(value)

    def duration(self, name: str) -> float | None:
        """Seconds of a `"1.5s"`, never negative; None if absent."""
        value = self.raw(name)
        if value is None:
            return None
        match = _DURATION.fullmatch(value) if isinstance(value, str) else None
        if match is None or not (match[2] or match[3]):
            raise self.wrong(name, 'a duration such as "1.5s"')
        if match[1] or int(match[2] or 0) > _MAX_SECONDS:
            raise self.wrong(name, f"a duration from 0s to {_MAX_SECONDS}s")
        return float(f"{match[2] or 0}.{match[3] or 0}")

    def positive_duration(self, name: str) -> float:
        """Seconds above zero. It must be there."""
        seconds = self.duration(name)
        if not seconds:
            raise self.wrong(name, "a duration above 0s")
        return seconds

    def size(self, name: str) -> int | None:
        """An unsigned 32-bit number; None if absent."""
        if not self.has(name):
            return None
        value = self._whole(name)
        if not 0 <= value <= _MAX_UINT32:
            raise self.wrong(name, f"a whole number from 0 to {_MAX_UINT32}")
        return value

    def attempts(self, name: str, most: int) -> int:
        """A whole number above 1, cut to `most`. It must be there."""
        value = self._whole(name)
        if value < 2:
            raise self.wrong(name, "a whole number above 1")
        return min(value, most)

    def positive(self, name: str) -> float:
        """A number above zero. It must be there."""
        value = self.raw(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e300:
            raise self.wrong(name, "a number above 0")
        return float(value)

    def number(self, name: str) -> float | None:
        """A number, never negative; None if absent."""
        value = self.raw(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e300:
            raise self.wrong(name, "a number from 0")
        return float(value)

    def codes(self, name: str) -> frozenset[Status]:
        """A list of status codes by name or number; empty if absent. OK is none."""
        found = set()
        for value in self.items(name):
            status: Status | None = None
            if isinstance(value, str):
                status = Status.__members__.get(value.upper())
            elif isinstance(value, int) and not isinstance(value, bool):
                status = next((each for each in Status if each.value == value), None)
            if status is None or status is Status.OK:
                raise ValueError(
                    f"service config: {self.path(name)} must list status codes other than OK, "
                    f"not {value!r}"
                )
            found.add(status)
        return frozenset(found)

    def _whole(self, name: str) -> int:
        value = self.raw(name)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
            return int(value)
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(name, "a whole number")
        return value
