"""The session table: which writes have been applied, and what their clients were answered.

It is a part of the replicated state: it changes only as the log is applied, in log order, and
every replica makes the same of the same log. So a retry of a write that has been applied gets the
first answer, whichever node leads by then; and where a duplicate got into the log, every replica
skips the same entry (thesis §6.3).

Two kinds of clients are told apart by their ids (`raft.session_ids`):

- **Registered** clients, trioraft's own. They are never applied twice: a call that the table
  cannot vouch for any more is refused (`EXPIRED`). The first call registers its session. A session
  that is unknown may also be one that was evicted; those were born no later than the *horizon*,
  the latest birth among all that ever were, so a session born after it is surely new.
- **Foreign** clients, such as Apache Ratis's. As its retry cache does, the table remembers their
  last calls and takes what it does not remember for new. What is in the log is applied, since
  their own servers, which may be replicas of this group, do so.

A leader asks `find` before a call enters the log; that no call of a registered client is applied
twice rests on `admit` nevertheless, which every replica asks when it applies the entry.

Everything is bounded, in log order alone: no clock could be the same on every replica.

Two halves make the result independent of how the applier cuts the log into batches: `admit`
decides and needs no reply, so that it can go ahead through a whole batch; `settle` keeps the
replies, entry by entry. What `admit` found to be needed no longer is dropped at its turn.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from trioraft.raft.errors import SessionExpiredError
from trioraft.raft.session_ids import MAX_OUTSTANDING, birth_of, split_call_id
from trioraft.raft.types import NO_INDEX, Session

from .occupancy import Occupancy

__all__ = [
    "EXPIRED",
    "MAX_CLIENT_ID_BYTES",
    "REPLY_OVERHEAD",
    "ClientRecord",
    "SessionLimits",
    "SessionTable",
    "expired",
]

#: What `admit` says of a call whose outcome nobody knows any more.
EXPIRED: Final = -2

#: Longer client ids are refused: by `Group.write`, and should a peer's log have one, by `admit`.
MAX_CLIENT_ID_BYTES: Final = 64

#: Bytes that a kept reply counts for beside its own: about what it costs in memory.
REPLY_OVERHEAD: Final = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """The same on every node of a group, always: they decide what replicas do.

    max_clients: the one that has been idle for longest goes first.
    idle_entries: a client goes when the log has grown by this much since its last write.
    max_foreign_calls: calls remembered of one foreign client; of a registered one, those from
        its lowest unanswered call on, never more than 1,024.
    max_reply_bytes: of all kept replies, with REPLY_OVERHEAD each; the oldest go first. Their
        calls stay known, and a retry of one is refused: `EXPIRED`.
    """

    max_clients: int = 10_000
    idle_entries: int = 10_000_000
    max_foreign_calls: int = 256
    max_reply_bytes: int = 32 << 20


class ClientRecord:
    """One client. `calls` holds call -> index of its entry, for calls from `floor` on.

    A call is a number for a registered client, the call id for a foreign one (`birth` None, no
    floor), whose calls are in log order.
    """

    __slots__ = ("birth", "calls", "floor", "used")

    def __init__(
        self, birth: int | None, used: int, floor: int = 0, calls: dict[int, int] | None = None
    ) -> None:
        self.birth = birth
        self.used = used  # index of its last entry
        self.floor = floor
        self.calls = {} if calls is None else calls


class SessionTable:
    """See the module. Not for concurrent use: it belongs to the applier's turns."""

    def __init__(self, limits: SessionLimits | None = None) -> None:
        self.limits = limits or SessionLimits()
        self.clients: OrderedDict[bytes, ClientRecord] = OrderedDict()  # longest idle first
        self.replies: OrderedDict[int, bytes] = OrderedDict()  # by the index of the first entry
        self.reply_bytes = 0
        self.horizon = NO_INDEX
        self.blind_to = NO_INDEX  # sessions born up to here were never told to this replica
        self._forgotten: deque[tuple[int, int]] = deque()  # (found at entry, reply of entry)
        self.settled = NO_INDEX  # entries up to here are applied and settled

    @classmethod
    def blind(cls, index: int, limits: SessionLimits | None = None) -> SessionTable:
        """A table for a state whose sessions were not told, after entry `index`: a snapshot that
        comes from another system.

        Of a session that was born by then it cannot know, so as a leader it lets no call of it
        into the log (`find`). What another leader has let in is applied.
        """
        table = cls(limits)
        table.blind_to = index + 1  # births count entries
        table.settled = index
        return table

    def become(self, other: SessionTable) -> None:
        """Take over the contents of a table that was restored from a snapshot."""
        self.clients, self.replies = other.clients, other.replies
        self.reply_bytes, self.horizon = other.reply_bytes, other.horizon
        self.settled, self._forgotten = other.settled, other._forgotten
        self.blind_to = other.blind_to

    def admit(self, session: Session, index: int) -> int:
        """Decide about the entry at `index`; call it once per entry with a session, in order.

        Returns `index` if it is to be applied. For a registered client also the index of the
        first entry of the same call if that was applied, or `EXPIRED`: then it must be skipped.
        """
        limit = self.limits.idle_entries
        clients = self.clients
        while clients and next(iter(clients.values())).used + limit < index:
            self._evict(index)
        client_id, call_id = session
        client = clients.get(client_id)
        if client is None:
            birth = birth_of(client_id)
            # Nobody is born in the future, unless the log has been lost and begun anew.
            if birth is not None and not self.horizon < birth <= index:
                return EXPIRED
            if len(client_id) > MAX_CLIENT_ID_BYTES:
                return EXPIRED
            client = self._new_client(client_id, birth, index)
        else:
            clients.move_to_end(client_id)
            client.used = index
        if client.birth is None:
            return self._admit_foreign(client, call_id, index)
        number, lowest_open = split_call_id(call_id)
        if lowest_open > client.floor:
            self._raise_floor(client, lowest_open, index)
        if number < client.floor:
            return EXPIRED
        return client.calls.setdefault(number, index)

    def settle(self, index: int, reply: bytes) -> None:
        """The entry at `index`, which was to be applied, has got `reply`. In log order."""
        self.settle_to(index)
        self.replies[index] = reply
        self.reply_bytes += len(reply) + REPLY_OVERHEAD
        while self.reply_bytes > self.limits.max_reply_bytes:
            _, oldest = self.replies.popitem(last=False)
            self.reply_bytes -= len(oldest) + REPLY_OVERHEAD

    def settle_to(self, index: int) -> None:
        """Everything up to `index` is applied, and settled where it was to be."""
        self.settled = index
        forgotten = self._forgotten
        while forgotten and forgotten[0][0] <= index:
            _, first = forgotten.popleft()
            reply = self.replies.pop(first, None)
            if reply is not None:
                self.reply_bytes -= len(reply) + REPLY_OVERHEAD

    def first_reply(self, session: Session, index: int) -> bytes:
        """What the first entry of this call, at `index`, was answered.

        Raises SessionExpiredError if the reply is not kept any more.
        """
        reply = self.replies.get(index)
        if reply is None:
            raise expired(session)
        return reply

    def find(self, session: Session) -> tuple[int, bytes] | None:
        """Index and reply of a call that has been applied; None if it may be proposed.

        Raises SessionExpiredError if it would surely be refused when its turn came.
        """
        client_id, call_id = session
        client = self.clients.get(client_id)
        if client is None:
            birth = birth_of(client_id)
            if birth is not None and birth <= max(self.horizon, self.blind_to):
                raise expired(session)
            return None
        number = call_id if client.birth is None else split_call_id(call_id)[0]
        if number < client.floor:
            raise expired(session)
        index = client.calls.get(number)
        if index is None and client.birth is not None and client.birth <= self.blind_to:
            raise expired(session)
        if index is None or index > self.settled:
            return None  # or decided, and not applied yet: then the entry of a retry is skipped
        return index, self.first_reply(session, index)

    def occupancy(self) -> list[Occupancy]:
        """Clients, bytes of replies, and calls of the client that wrote last."""
        limits, clients = self.limits, self.clients
        queues = [
            Occupancy("clients with sessions", len(clients), limits.max_clients),
            Occupancy("bytes of replies", self.reply_bytes, limits.max_reply_bytes),
        ]
        if clients:
            newest = next(reversed(clients.values()))
            limit = limits.max_foreign_calls if newest.birth is None else MAX_OUTSTANDING
            queues.append(Occupancy("calls of one client", len(newest.calls), limit))
        return queues

    # -- inside

    def _new_client(self, client_id: bytes, birth: int | None, index: int) -> ClientRecord:
        if len(self.clients) >= self.limits.max_clients:
            self._evict(index)
        client = self.clients[client_id] = ClientRecord(birth, index)
        return client

    def _admit_foreign(self, client: ClientRecord, call_id: int, index: int) -> int:
        calls = client.calls
        if (before := calls.pop(call_id, None)) is not None:
            self._forgotten.append((index, before))
        elif len(calls) >= self.limits.max_foreign_calls:
            self._forgotten.append((index, calls.pop(next(iter(calls)))))
        calls[call_id] = index
        return index

    def _raise_floor(self, client: ClientRecord, floor: int, index: int) -> None:
        """The client has the answers of all calls below `floor`."""
        calls = client.calls
        if floor - client.floor <= len(calls):
            below: Iterable[int] = range(client.floor, floor)
        else:
            below = [number for number in calls if number < floor]
        for number in below:
            first = calls.pop(number, None)
            if first is not None:
                self._forgotten.append((index, first))
        client.floor = floor

    def _evict(self, index: int) -> None:
        _, client = self.clients.popitem(last=False)
        if client.birth is not None:
            self.horizon = max(self.horizon, client.birth)
        for first in client.calls.values():
            self._forgotten.append((index, first))


def expired(session: Session) -> SessionExpiredError:
    """The error for a call of `session` whose outcome nobody knows any more."""
    return SessionExpiredError(
        f"call {session.call_id} of client {session.client_id.hex()} is not remembered any more: "
        "it may have been applied, and was not applied now"
    )
