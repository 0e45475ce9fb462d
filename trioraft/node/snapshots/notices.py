"""Snapshots that a leader of another make only tells of, and asks about until they are there.

A notice does not say which snapshot: any state from some entry on will do, with the leader's
newest configuration. That one is in force at the fetched position only if its entry is not
behind it and no other lies between them, so it has to be asked for after the state was fetched:
the configuration counts that comes with the first notice which was certainly sent by then.

    notice ──> fetching (beside calls) ──> fetched ──> told so ──> next notice ──> installed
"""

from __future__ import annotations

import logging

import trio

from trioraft.node.driver import Driver
from trioraft.node.machine import SnapshotOffer, SnapshotPosition
from trioraft.node.peers import NoticeOutcome, NoticeReply, SnapshotNotice
from trioraft.node.settings import RuntimeSettings
from trioraft.node.wakeups import Doorbell, Slot
from trioraft.raft.errors import OverloadedError, StorageError
from trioraft.raft.messages import SnapshotReply, SnapshotRequest
from trioraft.raft.types import NO_TERM, SnapshotMeta
from trioraft.storage.interface import GroupStorage, SnapshotWriter

from .fetch import NothingToFetchError, SnapshotFetch, SnapshotFetchError
from .snapshots import Snapshots

__all__ = ["SnapshotNotices", "leader_address"]

logger = logging.getLogger(__name__)

_ANSWER_WITHIN = 1.0  # seconds; the leader asks again


def leader_address(driver: Driver, request: SnapshotRequest | SnapshotNotice) -> str:
    """Where the sender of `request` listens, as far as it or this node knows; else ""."""
    told = request.meta if isinstance(request, SnapshotRequest) else request
    for configuration in (told.configuration, driver.core.configuration):
        member = configuration.member(request.leader)
        if member is not None:
            return member.address
    return ""


class _Job:
    """One state being fetched on behalf of one leader's term."""

    def __init__(self, notice: SnapshotNotice) -> None:
        self.notice = notice
        self.scope = trio.CancelScope()
        self.position: SnapshotPosition | None = None  # fetched
        self.told = False  # the leader has had an answer since then
        self.latest: Slot[SnapshotNotice] = Slot()  # that was sent since then
        self.step = trio.Event()  # something to tell
        self.nothing = False  # there was nothing to fetch
        self.ended = False


class SnapshotNotices:
    """Serves the notices that one group gets."""

    def __init__(
        self,
        driver: Driver,
        snapshots: Snapshots,
        fetch: SnapshotFetch,
        storage: GroupStorage,
        settings: RuntimeSettings,
    ) -> None:
        self._driver = driver
        self._snapshots = snapshots
        self._fetch = fetch
        self._storage = storage
        self._settings = settings
        self._bell = Doorbell()
        self._job: _Job | None = None
        self._installed: tuple[int, int] | None = None  # term of the leader, index; not told yet

    async def run(self) -> None:
        """Fetch what notices tell of, until cancelled; what is not installed is then deleted."""
        while True:
            await self._bell.wait()
            job = self._job
            if job is None or job.ended:
                continue
            try:
                with job.scope:
                    await self._work(job)
            finally:
                job.ended = True
                job.step.set()

    def leader_changed(self) -> None:
        """Give up what another term's leader told of."""
        if self._job is not None and self._job.notice.term != self._driver.core.term:
            self._job.scope.cancel()

    async def handle(self, notice: SnapshotNotice) -> NoticeReply:
        """See `PeerHandler.handle_notice`."""
        driver, core = self._driver, self._driver.core
        if not self._settings.fetch_snapshots:
            await trio.lowlevel.checkpoint()
            return NoticeReply(NoticeOutcome.MISMATCH, core.term)
        meta = SnapshotMeta(notice.index, NO_TERM, notice.configuration)
        request = SnapshotRequest(notice.term, notice.leader, meta)
        answer: Slot[SnapshotReply] = Slot()
        wanted = driver.ask(lambda now: core.snapshot_received(request, answer.resolve, now))
        if not await wanted.wait():
            return self._not_wanted(notice, await answer.wait())
        job = self._job
        if job is None or job.ended or job.notice.term != notice.term:
            try:
                self._fetch.check()
            except OverloadedError:
                nothing = job is not None and job.nothing
                outcome = NoticeOutcome.UNAVAILABLE if nothing else NoticeOutcome.IN_PROGRESS
                return NoticeReply(outcome, notice.term)
            job = self._begin(notice)
        elif job.told:
            job.latest.resolve(notice)
        with trio.move_on_after(_ANSWER_WITHIN):
            await job.step.wait()
        return self._progress(job)

    # -- inside

    def _begin(self, notice: SnapshotNotice) -> _Job:
        if self._job is not None:
            self._job.scope.cancel()
        job = self._job = _Job(notice)
        self._bell.ring()
        return job

    def _not_wanted(self, notice: SnapshotNotice, reply: SnapshotReply) -> NoticeReply:
        if not reply.success:
            return NoticeReply(NoticeOutcome.NOT_LEADER, reply.term)
        installed, self._installed = self._installed, None
        if installed is not None and installed[0] == notice.term:
            return NoticeReply(NoticeOutcome.INSTALLED, reply.term, installed[1])
        return NoticeReply(NoticeOutcome.ALREADY_THERE, reply.term, reply.index)

    def _progress(self, job: _Job) -> NoticeReply:
        term = job.notice.term
        if job.ended and self._installed is not None and self._installed[0] == term:
            (_, index), self._installed = self._installed, None
            return NoticeReply(NoticeOutcome.INSTALLED, term, index)
        if job.position is not None and not job.told:
            job.told, job.step = True, trio.Event()
        if job.nothing:
            return NoticeReply(NoticeOutcome.UNAVAILABLE, term)
        return NoticeReply(NoticeOutcome.IN_PROGRESS, term)

    async def _work(self, job: _Job) -> None:
        notice = job.notice
        # Before its entry, the configuration that comes with it is not in force.
        index = max(notice.index, notice.configuration_index)
        address = leader_address(self._driver, notice)
        offer = SnapshotOffer(notice.leader, address, index, NO_TERM, exact=False)
        try:
            with self._fetch.attempt(index, notice.leader):
                async with self._storage.create_snapshot() as writer:
                    job.position = await self._fetch.into(writer, offer, notice.term)
                    job.step.set()
                    await self._install(job, writer, job.position)
        except NothingToFetchError:
            job.nothing = True
        except (SnapshotFetchError, StorageError):
            return  # logged; a later notice tries again
        except OverloadedError as error:
            logger.info("a fetched snapshot is not installed: %s", error)

    async def _install(self, job: _Job, writer: SnapshotWriter, position: SnapshotPosition) -> None:
        latest: SnapshotNotice | None = None
        with trio.move_on_after(self._settings.partial_snapshot_timeout):
            latest = await job.latest.wait()
        if latest is None or latest.configuration_index > position.index:
            return  # nobody asks any more, or not for this
        meta = SnapshotMeta(
            position.index,
            position.term,
            latest.configuration,
            configuration_index=latest.configuration_index,
        )
        answer: Slot[SnapshotReply] = Slot()
        driver, core = self._driver, self._driver.core

        def installed(meta: SnapshotMeta) -> None:
            driver.call(lambda now: core.snapshot_installed(meta, answer.resolve, now))

        await self._snapshots.install(writer, meta, installed)
        reply = await answer.wait()
        self._installed = latest.term, reply.index
