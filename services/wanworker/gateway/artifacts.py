"""Where finished files are kept.

A file is written under a temporary name, checked and synced, and only then gets its own: whoever finds a file
under an artifact's name finds all of it.
"""

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncIterator, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol

from wanworker.runtime.errors import InternalError

_SAFE = re.compile(r"[A-Za-z0-9-]{1,64}")

SUFFIXES = {"video/mp4": ".mp4", "image/png": ".png", "image/webp": ".webp"}
"""File name endings by media type."""


@dataclass(frozen=True)
class StoredFile:
    """A finished file on disk."""

    path: Path
    """Where it is."""
    job_id: str
    """Whose it is."""
    size_bytes: int
    """Its length."""
    stored_at: float
    """When it was written, seconds since 1970."""


class PartFile:
    """A file that is being received. Leaving the `with` block without `finish` removes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._digest = hashlib.sha256()
        self._size = 0
        self._finished = False

    def __enter__(self) -> "PartFile":
        self._file = self._path.open("wb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._file is not None:
                self._file.close()
        except OSError:
            # Closing writes what is left, and fails as the write before did; that one tells more.
            if error is None:
                raise
        finally:
            if not self._finished:
                self._path.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Append bytes. OSError if the disk is full."""
        assert self._file is not None, "the file is not open"
        self._file.write(data)
        self._digest.update(data)
        self._size += len(data)

    async def finish(self, size_bytes: int, sha256: bytes) -> None:
        """Compare with what was promised and sync. InternalError if it differs; then nothing is kept."""
        assert self._file is not None, "the file is not open"
        if self._size != size_bytes or self._digest.digest() != sha256:
            raise InternalError(
                f"{self._size} bytes came that are not the {size_bytes} that the generator promised",
                "FILE_DAMAGED",
            )
        self._file.flush()
        await asyncio.to_thread(os.fsync, self._file.fileno())
        self._finished = True


class ArtifactStore(Protocol):
    """Keeps finished files."""

    def receive(self, job_id: str, attempt: int) -> PartFile:
        """A file to write an attempt's bytes to."""

    async def commit(self, job_id: str, attempt: int, media_type: str) -> None:
        """Give a finished part its name. Doing it twice is fine."""

    def discard(self, job_id: str) -> None:
        """Remove whatever parts a job has left."""

    def exists(self, job_id: str, media_type: str) -> bool:
        """Whether the file is there."""

    def read(self, job_id: str, media_type: str, offset: int, limit: int, chunk: int) -> AsyncIterator[bytes]:
        """The bytes from `offset`, `limit` at most, in chunks."""


class DirectoryArtifactStore:
    """`ArtifactStore` in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts = folder / "parts"

    def open(self) -> None:
        """Make the folder."""
        self._parts.mkdir(parents=True, exist_ok=True)

    def receive(self, job_id: str, attempt: int) -> PartFile:
        """A file to write an attempt's bytes to."""
        return PartFile(self._part(job_id, attempt))

    async def commit(self, job_id: str, attempt: int, media_type: str) -> None:
        """Give a finished part its name. Doing it twice is fine."""
        await asyncio.to_thread(self._rename, self._part(job_id, attempt), self._path(job_id, media_type))

    def discard(self, job_id: str) -> None:
        """Remove whatever parts a job has left."""
        for part in self._parts.glob(f"{_safe(job_id)}.*"):
            part.unlink(missing_ok=True)

    def exists(self, job_id: str, media_type: str) -> bool:
        """Whether the file is there."""
        return self._path(job_id, media_type).is_file()

    async def read(self, job_id: str, media_type: str, offset: int, limit: int, chunk: int) -> AsyncIterator[bytes]:
        """The bytes from `offset`, `limit` at most, in chunks."""
        file = await asyncio.to_thread(self._path(job_id, media_type).open, "rb")
        try:
            file.seek(offset)
            while limit > 0 and (data := await asyncio.to_thread(file.read, min(chunk, limit))):
                limit -= len(data)
                yield data
        finally:
            file.close()

    async def files(self) -> list[StoredFile]:
        """All finished files."""
        return await asyncio.to_thread(self._files)

    async def delete(self, file: StoredFile) -> None:
        """Delete a finished file. Who is reading it reads on to its end."""
        await asyncio.to_thread(file.path.unlink, missing_ok=True)

    async def clear_parts(self, kept: Collection[tuple[str, int]]) -> None:
        """Delete all parts but those of these jobs' attempts."""
        names = {self._part(job_id, attempt).name for job_id, attempt in kept}
        await asyncio.to_thread(self._clear_parts, names)

    def _files(self) -> list[StoredFile]:
        found = []
        for path in self._folder.iterdir():
            if path.suffix not in SUFFIXES.values() or not _SAFE.fullmatch(path.stem):
                continue
            with suppress(FileNotFoundError):
                status = path.stat()
                found.append(StoredFile(path, path.stem, status.st_size, status.st_mtime))
        return found

    def _clear_parts(self, kept: Collection[str]) -> None:
        for part in self._parts.iterdir():
            if part.name not in kept:
                part.unlink(missing_ok=True)

    def _rename(self, part: Path, path: Path) -> None:
        if not part.exists() and path.exists():
            return
        part.replace(path)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _part(self, job_id: str, attempt: int) -> Path:
        return self._parts / f"{_safe(job_id)}.{attempt}"

    def _path(self, job_id: str, media_type: str) -> Path:
        return self._folder / f"{_safe(job_id)}{SUFFIXES.get(media_type, '.bin')}"


def _safe(job_id: str) -> str:
    if not _SAFE.fullmatch(job_id):
        raise InternalError("a job id may only hold letters, digits and dashes", "BAD_JOB_ID")
    return job_id
