"""Files that appear whole or not at all."""

import os
import secrets
from pathlib import Path
from typing import Self

from wanworker.client.types import Artifact, Job


class PartFile:
    """A file that is written under a temporary name beside its final one and renamed by `commit`; removed
    otherwise."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        self._file = self._temporary.open("xb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Appends."""
        self._file.write(data)

    def commit(self) -> None:
        """Gives the file its name, replacing what was there."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._temporary.replace(self.path)


def output_path(output: str | os.PathLike[str] | None, job: Job, artifact: Artifact | None) -> Path:
    """Returns where to save a job's file: the path, or the gateway's name for it in the folder or here."""
    # Only the last part of that name: a gateway must not choose the folder.
    name = Path(artifact.file_name).name if artifact else ""
    name = name or f"{job.id}.bin"
    if output is None:
        return Path(name)
    path = Path(output)
    return path / name if path.is_dir() else path
