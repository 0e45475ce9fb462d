"""What an attack on a server is: a name, one round on one connection, and how it has to end."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from _attacker import Attacker

Round = Callable[[Attacker], Awaitable[None]]

_BATCH = 100


@dataclass(frozen=True)
class Attack:
    """One way to be hostile.

    Attributes:
        name: For people, as it stands in docs/security.md.
        run: One round on a fresh connection that has not sent anything. GoneError ends it.
        outcome: A regular expression for all of `Attacker.outcome()`.
        reads: Whether the attacker takes what the server sends.
        holds: Whether the attack lasts as long as its connection, rather than starting over.
    """

    name: str
    run: Round
    outcome: str
    reads: bool = True
    holds: bool = False


class Attacks(list[Attack]):
    """A table of attacks that fills itself by decoration."""

    def add(
        self, name: str, outcome: str, *, reads: bool = True, holds: bool = False
    ) -> Callable[[Round], Round]:
        """Make the decorated function an attack of this table."""
        if re.fullmatch(r"status \d+", outcome):
            # A status may come before the end of the request was read: that is then asked for no
            # more (RFC 9113 section 8.1). Which of the two was first is a matter of timing.
            outcome += "(, RST_STREAM NO_ERROR)?"

        def register(run: Round) -> Round:
            self.append(Attack(name, run, outcome, reads, holds))
            return run

        return register


#: How a flood ends. The GOAWAY can be lost on the way: who closes a socket with unread bytes in
#: it, as the victim of a flood does, has TCP send a reset, which overtakes what was sent before.
CALM = (
    r"(status \S+, |RST_STREAM \S+, )*"
    r"(GOAWAY (ENHANCE_YOUR_CALM|PROTOCOL_ERROR|INTERNAL_ERROR), )?closed"
)


async def flood(attacker: Attacker, one: Callable[[], bytes], count: int) -> None:
    """Greet, then send what `one` makes `count` times, in batches with room for answers between."""
    await attacker.greet()
    for _ in range(count // _BATCH):
        await attacker.send(*(one() for _ in range(_BATCH)))
        attacker.attempts += _BATCH
