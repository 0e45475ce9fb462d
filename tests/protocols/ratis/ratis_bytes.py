"""What the tests of Ratis's messages share: a group of one, a client, their route."""

from __future__ import annotations

from trioraft.protocols.ratis.header import Route
from trioraft.raft.types import Configuration, Entry, EntryKind, Member

GROUP = bytes.fromhex("02511d47d67c49a39011abb3109a44c1")
CLIENT = bytes.fromhex("00112233445546778899aabbccddeeff")
ROUTE = Route.between(GROUP, "n0", "n1")
N0 = Member("n0", "127.0.0.1:10024")
CONFIGURATION = Configuration((N0,))
CONF_ENTRY = Entry(1, 0, EntryKind.CONFIGURATION, CONFIGURATION.encode())
