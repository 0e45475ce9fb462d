"""The links of a host: one to each other host that its groups have members on.

A link belongs to the pair of channels of an address and lives as long as some group uses it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import trio

from trioraft.protocols.local.link import HostLink, LinkSettings
from trioraft.raft.types import Member, NodeId
from trioraft.rpc import Channel

__all__ = ["LinkPool"]


class LinkPool:
    """Links by the member at the other end. Their tasks live in the host's nursery.

    on_change: told which peer's link has come up (True) or was lost (False).
    on_rest: told of each answer to `HostLink.ask_rest`: peer, group, term, whether it rests.
    """

    def __init__(
        self,
        *,
        nursery: trio.Nursery,
        node_id: NodeId,
        settings: LinkSettings,
        rng: random.Random,
        on_change: Callable[[NodeId, bool], Any],
        on_rest: Callable[[NodeId, bytes, int, bool], Any],
    ) -> None:
        self._nursery = nursery
        self._node_id = node_id
        self._settings = settings
        self._rng = rng
        self._on_change = on_change
        self._on_rest = on_rest
        self._links: dict[tuple[NodeId, str], _Kept] = {}

    def acquire(self, peer: Member, channel: Channel) -> HostLink:
        """The link to `peer` over `channel`, until a `release` for each `acquire`. Never waits."""
        key = peer.id, peer.address
        kept = self._links.get(key)
        if kept is None:
            link = HostLink(
                node_id=self._node_id,
                peer=peer.id,
                channel=channel,
                settings=self._settings,
                rng=random.Random(self._rng.getrandbits(64)),
                on_change=partial(self._on_change, peer.id),
                on_rest=partial(self._on_rest, peer.id),
            )
            kept = self._links[key] = _Kept(link)
            self._nursery.start_soon(kept.run)
        kept.users += 1
        return kept.link

    def release(self, peer: Member) -> None:
        """One user less; the last one ends the link. Never waits."""
        key = peer.id, peer.address
        kept = self._links[key]
        kept.users -= 1
        if not kept.users:
            del self._links[key]
            kept.scope.cancel()

    def find(self, peer: Member) -> HostLink | None:
        """The link to `peer` if there is one that is up."""
        kept = self._links.get((peer.id, peer.address))
        return kept.link if kept is not None and kept.link.up else None

    def foreign(self, peer: Member) -> bool:
        """The server of `peer` was reached and does not know links."""
        kept = self._links.get((peer.id, peer.address))
        return kept is not None and kept.link.supported is False


class _Kept:
    """A link, how many groups use it, and the scope of its task."""

    def __init__(self, link: HostLink) -> None:
        self.link = link
        self.users = 0
        self.scope = trio.CancelScope()

    async def run(self) -> None:
        with self.scope:
            await self.link.keep()
