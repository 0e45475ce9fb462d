"""`check`: is a history linearizable? Object by object, with an excerpt where it is not."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path

from .history import Operation
from .models import Model
from .picture import draw
from .search import Search, SearchLimitError, search
from .shrink import Excerpt, first_failure, shrink
from .text import describe

__all__ = ["NotLinearizableError", "Report", "Violation", "assert_linearizable", "check"]

_SHOWN = 5  # violations that a report spells out


class NotLinearizableError(AssertionError):
    """A history has no linearization, or (it says so) none was found within the limit."""


@dataclass(frozen=True, slots=True)
class Violation:
    """An object whose answers no single copy could have given.

    Attributes:
        key: The object.
        stuck: The first return, in time, that nothing explains.
        excerpt: The few operations that show it.
        operations: All of the object's, in the order of invocation.
    """

    key: Hashable
    stuck: Operation
    excerpt: Excerpt
    operations: tuple[Operation, ...]

    def text(self) -> str:
        """A few lines for people, with a timeline."""
        return describe(self.key, self.stuck, self.excerpt, operations=len(self.operations))

    def html(self) -> str:
        """A page with a timeline of the neighbourhood, to look at in a browser."""
        return draw(self.key, self.operations, self.stuck, self.excerpt, self.text())


@dataclass(frozen=True, slots=True)
class Report:
    """What `check` found. `ok` is whether all of the history is linearizable.

    Attributes:
        objects: How many objects there were.
        operations: How many operations.
        unknown: How many of them have an unknown outcome.
        violations: One per object that failed.
        undecided: Objects given up at the limit.
        steps: Steps of the model, a measure of the work.
    """

    objects: int
    operations: int
    unknown: int
    violations: tuple[Violation, ...]
    undecided: tuple[Hashable, ...]
    steps: int

    @property
    def ok(self) -> bool:
        return not self.violations and not self.undecided

    def text(self) -> str:
        """The verdict for people."""
        counted = (
            f"{self.operations:,} operations ({self.unknown:,} of unknown outcome)"
            f" on {self.objects:,} objects"
        )
        if self.ok:
            return f"linearizable: {counted}"
        lines = [f"not linearizable: {counted}"]
        lines += [violation.text() for violation in self.violations[:_SHOWN]]
        if len(self.violations) > _SHOWN:
            lines.append(f"and {len(self.violations) - _SHOWN} more objects")
        lines += [f"undecided within the limit: {key!r}" for key in self.undecided]
        return "\n\n".join(lines)

    def raise_if_not_ok(self, picture: Path | None = None) -> None:
        """Raises NotLinearizableError, after writing the first violation's page to `picture`."""
        if self.ok:
            return
        text = self.text()
        if picture is not None and self.violations:
            picture.write_text(self.violations[0].html(), encoding="utf-8")
            text += f"\n\nto look at: {picture}"
        raise NotLinearizableError(text)


def check(operations: Iterable[Operation], model: Model, *, limit: int = 5_000_000) -> Report:
    """Judge a history; see `Operation` for what one is made of.

    limit: Most steps of the model per object, about a million a second. The general problem is
    NP-complete; what an engine's clients produce takes a few steps per operation.

    A wrong history can be told from a right one only as far as clients looked: prefer values
    that differ, and read often. Raises ValueError for operations that the model does not have.
    """
    objects: dict[Hashable, list[Operation]] = {}
    for operation in operations:
        objects.setdefault(operation.key, []).append(operation)
    violations: list[Violation] = []
    undecided: list[Hashable] = []
    steps = 0
    for key, own in objects.items():
        try:
            found = search(own, model, limit=limit)
        except SearchLimitError:
            undecided.append(key)
            steps += limit
            continue
        steps += found.steps
        if found.order is None:
            violations.append(_violation(key, own, found, model, limit))
    every = [operation for own in objects.values() for operation in own]
    return Report(
        objects=len(objects),
        operations=len(every),
        unknown=sum(operation.returned is None for operation in every),
        violations=tuple(violations),
        undecided=tuple(undecided),
        steps=steps,
    )


def assert_linearizable(
    operations: Iterable[Operation],
    model: Model,
    *,
    limit: int = 5_000_000,
    picture: Path | None = None,
) -> Report:
    """`check`, raising NotLinearizableError with the report unless the history passes."""
    report = check(operations, model, limit=limit)
    report.raise_if_not_ok(picture)
    return report


def _violation(
    key: Hashable, own: list[Operation], found: Search, model: Model, limit: int
) -> Violation:
    assert found.stuck is not None
    stuck = first_failure(own, found.stuck, model, limit=limit)
    return Violation(
        key=key,
        stuck=stuck,
        excerpt=shrink(own, stuck, model),
        operations=tuple(sorted(own, key=lambda op: op.invoked)),
    )
