"""The blob folder under everything at once: no content that somebody refers to is lost, none that nobody does stays."""

import asyncio
import hashlib
import random
from collections import Counter
from pathlib import Path

import pytest

from broker.errors import StorageFullError, StoreBrokenError, TooLargeError
from broker.store.blobs.folder import BlobFolder
from broker.store.blobs.writer import Blob, BlobWriter

pytestmark = pytest.mark.anyio
LONG_ENOUGH = 30.0
CONTENTS = [bytes([n]) * n * 1000 for n in range(6)]
"""Few, so that the same one comes and goes at the same time again and again."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def folder_at(path: Path, **limits: int) -> BlobFolder:
    return BlobFolder(path, **{"max_bytes": 10**9, "min_free_bytes": 0, **limits}, durable=False)


async def written(folder: BlobFolder, data: bytes) -> Blob:
    async with BlobWriter(folder, 10**6, TooLargeError()) as writer:
        await writer.write(data)
        return await writer.finish()


def files(folder: BlobFolder) -> list[str]:
    return [path.name for path in folder.path.rglob("*") if path.is_file() and not path.name.endswith(".lock")]


async def none_referenced(_: list[str]) -> set[str]:
    return set()


@pytest.mark.parametrize("seed", range(8))
async def test_what_is_referred_to_stays_and_nothing_else_does(tmp_path: Path, seed: int) -> None:
    """Jobs come with contents, refer to them, read them and go, while sweeps ask at the worst moments."""
    chance = random.Random(seed)
    folder = folder_at(tmp_path / "blobs")
    await folder.open()
    rows: Counter[str] = Counter()
    busy = True

    async def a_moment() -> None:
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)

    async def referenced(names: list[str]) -> set[str]:
        await a_moment()
        found = {name for name in names if rows[name]}
        await a_moment()  # the answer is old when it arrives
        return found

    async def job() -> None:
        for _ in range(12):
            data = chance.choice(CONTENTS)
            blob = await written(folder, data)
            assert blob.sha256 == hashlib.sha256(data).hexdigest()
            await a_moment()
            if chance.random() < 0.3:  # the submit is refused
                folder.unpin(blob.sha256)
                continue
            rows[blob.sha256] += 1
            folder.unpin(blob.sha256)
            await a_moment()
            opened = await folder.read(blob.sha256)
            assert await opened.read(0, blob.size) == data
            opened.close()
            rows[blob.sha256] -= 1
            folder.suspect([blob.sha256])

    async def sweeper() -> None:
        while busy:
            await folder.sweep(referenced)
            await asyncio.sleep(0)

    sweeping = asyncio.ensure_future(sweeper())
    async with asyncio.timeout(LONG_ENOUGH):
        await asyncio.gather(*(job() for _ in range(8)))
        busy = False
        await sweeping
        while folder.has_suspects:
            await folder.sweep(referenced)
    assert (len(folder), folder.stored_bytes, files(folder)) == (0, 0, [])
    folder.close()


async def test_a_writer_that_fails_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_at(tmp_path / "blobs", max_bytes=10_000)
    await folder.open()
    kept = await written(folder, b"content")
    with pytest.raises(StorageFullError):
        await written(folder, b"x" * 20_000)
    with monkeypatch.context() as broken:
        broken.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        with pytest.raises(StoreBrokenError):
            await written(folder, b"content")  # known already: its second copy cannot be removed
    with monkeypatch.context() as broken:
        broken.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(StorageFullError):
            await written(folder, b"another content")
    folder.unpin(kept.sha256)
    await folder.sweep(none_referenced)
    assert (len(folder), folder.stored_bytes) == (0, 0)
    folder.reserve(10_000)  # all room is free again
    folder.close()


async def test_what_a_crash_left_is_removed_at_the_next_start(tmp_path: Path) -> None:
    folder = folder_at(tmp_path / "blobs")
    await folder.open()
    orphan, owned = await written(folder, b"renamed, and its row never came"), await written(folder, b"owned")
    (folder.incoming / "half").write_bytes(b"half a file")
    folder.close()
    folder = folder_at(tmp_path / "blobs")
    await folder.open()
    assert sorted(files(folder)) == sorted([orphan.sha256, owned.sha256])

    async def referenced(names: list[str]) -> set[str]:
        return {owned.sha256} & set(names)

    await folder.sweep(referenced)
    assert files(folder) == [owned.sha256]
    folder.close()
