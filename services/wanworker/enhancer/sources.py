"""Where a model's file comes from: a path, or the Hugging Face hub."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from wanworker.enhancer.errors import ModelNotFoundError
from wanworker.enhancer.settings import EnhancerSettings

_PART = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf$")


def part_names(name: str) -> list[str]:
    """Return the names of all parts of a split GGUF, whichever part is named; else only `name`.

    The scheme is llama.cpp's (`llama_split_path`): `stem-00001-of-00002.gguf`.
    """
    match = _PART.match(name)
    if match is None:
        return [name]
    count = int(match["count"])
    return [f"{match['stem']}-{number:05d}-of-{count:05d}.gguf" for number in range(1, count + 1)]


@dataclass(frozen=True)
class ModelFiles:
    """Files on this machine that make up a model."""

    parts: Sequence[Path]
    """All parts in order; llama.cpp is given the first and finds the others by name."""

    @property
    def first(self) -> Path:
        """The file to load."""
        return self.parts[0]

    def fingerprint(self) -> str:
        """Return what changes when a file is changed: path, size and time of change of each part.

        Raises:
            ModelNotFoundError: A part has gone.
        """
        lines = []
        for part in self.parts:
            try:
                stat = part.stat()
            except OSError as error:
                raise ModelNotFoundError(str(part), error.strerror or "") from error
            lines.append(f"{part.resolve()}:{stat.st_size}:{stat.st_mtime_ns}")
        return "|".join(lines)


class ModelSource(Protocol):
    """A place that a model comes from."""

    def describe(self) -> str:
        """Return a path, or "repo/file"."""
        ...

    def check(self) -> None:
        """Find out what can be found out at once.

        Raises:
            ModelNotFoundError: The files are nowhere.
        """
        ...

    def fetch(self) -> ModelFiles:
        """Return the files, fetched if need be; may take long.

        Raises:
            ModelNotFoundError: They are nowhere, or the hub can't be reached.
        """
        ...


@dataclass(frozen=True)
class PathSource:
    """A file on this machine."""

    path: Path
    """The GGUF; of a split model any part."""

    def describe(self) -> str:
        """Return the path."""
        return str(self.path)

    def check(self) -> None:
        """Look for the files."""
        self.fetch()

    def fetch(self) -> ModelFiles:
        """Return the files; raises ModelNotFoundError naming the first that is missing."""
        parts = [self.path.parent / name for name in part_names(self.path.name)]
        for part in parts:
            if not part.is_file():
                raise ModelNotFoundError(str(part), "not a file" if part.exists() else "no such file")
        return ModelFiles(parts)


@dataclass(frozen=True)
class HubSource:
    """A file in a repository on the hub, kept in the hub's local cache."""

    repo: str
    """For example `Qwen/Qwen2.5-7B-Instruct-GGUF`."""
    file: str
    """Name in the repository, with its folder; of a split model any part."""
    revision: str
    """Branch, tag or commit."""
    cache: Path | None
    """Folder of the cache; the hub's own (HF_HUB_CACHE, HF_HOME) when None."""

    def describe(self) -> str:
        """Return "repo/file"."""
        return f"{self.repo}/{self.file}"

    def check(self) -> None:
        """Do nothing: only a download could tell."""

    def fetch(self) -> ModelFiles:
        """Return the files from the cache if it has all of them, else from the hub.

        With HF_HUB_OFFLINE=1 the hub isn't asked.
        """
        try:
            return self.files_here()
        except ModelNotFoundError:
            return self._files(local_only=False)

    def files_here(self) -> ModelFiles:
        """Return the files from the cache; the hub isn't asked. Raises ModelNotFoundError if one is missing."""
        return self._files(local_only=True)

    def _files(self, *, local_only: bool) -> ModelFiles:
        folder, _, name = self.file.rpartition("/")
        prefix = f"{folder}/" if folder else ""
        return ModelFiles([self._file(prefix + part, local_only) for part in part_names(name)])

    def _file(self, name: str, local_only: bool) -> Path:
        # Imported late: a service that has its file by path needs no hub.
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError

        try:
            path = hf_hub_download(
                self.repo, name, revision=self.revision, cache_dir=self.cache, local_files_only=local_only
            )
        # All of the hub's own "not found" errors are one of these; OSError is the network or the disk.
        except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
            detail = str(error).strip().partition("\n")[0]
            raise ModelNotFoundError(f"{self.repo}/{name}", detail) from error
        return Path(path)


def source_from(settings: EnhancerSettings) -> ModelSource:
    """Return the source that the settings name; a path wins over the hub."""
    if settings.model_path is not None:
        return PathSource(settings.model_path)
    return HubSource(settings.model_repo, settings.model_file, settings.model_revision, settings.model_cache)


def model_name(settings: EnhancerSettings) -> str:
    """Return the name to show: the one that was set, else the file's without ending and part number."""
    if settings.model_name:
        return settings.model_name
    file = settings.model_path.name if settings.model_path else settings.model_file.rpartition("/")[2]
    match = _PART.match(file)
    return match["stem"] if match else file.removesuffix(".gguf")
