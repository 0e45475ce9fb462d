"""`twin`: each test that asks for it runs on every `GroupStorage` there is."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from storage_kit import GROUP, Twin

from trioraft.storage import (
    DataDirectory,
    GroupStorage,
    MemoryStorage,
    StorageSettings,
    open_disk_writer,
)
from trioraft.storage.writer import DiskWriter
from trioraft.testing.disk import SimDisk, open_sim_writer


class MemoryTwin(Twin):
    def __init__(self) -> None:
        self.storage: MemoryStorage = MemoryStorage()

    async def reopen(self) -> GroupStorage:
        await self.storage.aclose()
        self.storage = self.storage.reopen()
        return self.storage


class FileTwin(Twin):
    def __init__(self, directory: DataDirectory, writer: DiskWriter) -> None:
        self._directory = directory
        self._writer = writer

    async def open(self) -> None:
        settings = StorageSettings(segment_bytes=2000)
        self.storage = await self._directory.open_group(GROUP, self._writer, settings)

    async def reopen(self) -> GroupStorage:
        await self.storage.aclose()
        await self.open()
        return self.storage


@pytest.fixture(params=["memory", "simulated disk", "real disk"])
async def twin(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Twin]:
    if request.param == "memory":
        memory = MemoryTwin()
        yield memory
        await memory.storage.aclose()
        return
    simulated = request.param == "simulated disk"
    path, disk = ("/data", SimDisk()) if simulated else (str(tmp_path / "data"), None)
    opened = open_sim_writer(random.Random(1)) if simulated else open_disk_writer()
    async with opened as writer:
        directory = DataDirectory.open(path, node_id="n1", cluster="c", filesystem=disk)
        twin = FileTwin(directory, writer)
        await twin.open()
        yield twin
        await twin.storage.aclose()
        directory.close()
