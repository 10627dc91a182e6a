"""From a model's name to a folder on this machine, and whether that folder is whole.

Where a model is looked for, first hit wins:

1. `model_paths[name]`; for `demo` also `demo_path`;
2. `models_dir/name`, if that folder exists;
3. the hub's cache, then (unless `offline`) the hub.

Only safetensors count: pickled weights run code when they are loaded.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wanworker.generator.errors import model_broken, model_not_found
from wanworker.generator.registry import ModelRow
from wanworker.generator.settings import GeneratorSettings
from wanworker.runtime.errors import PreconditionError

INDEX = "model_index.json"
_PATTERNS = ("*.json", "*.safetensors", "*.model", "*.txt")
_WITHOUT_WEIGHTS = ("tokenizer", "scheduler", "image_processor", "feature_extractor")
_CONFIG_NAMES = {
    "tokenizer": "tokenizer_config.json",
    "scheduler": "scheduler_config.json",
    "image_processor": "preprocessor_config.json",
    "feature_extractor": "preprocessor_config.json",
}
_EDGE_BYTES = 1 << 20


@dataclass(frozen=True)
class Source:
    """A checkpoint on disk."""

    name: str
    """The model's name."""
    folder: Path
    """Folder in diffusers layout."""
    commit: str
    """Commit of a hub snapshot; empty for other folders."""
    transformer: Path | None = None
    """A single file that takes the place of the folder's transformer weights."""
    lora: Path | None = None
    """A LoRA over the transformer."""


def describe(row: ModelRow, settings: GeneratorSettings) -> str:
    """Where the model would come from, for people; touches nothing."""
    folder = _configured_folder(row, settings)
    return str(folder) if folder else row.repo


def locate(row: ModelRow, settings: GeneratorSettings, *, download: bool = False) -> Source:
    """The model's checkpoint.

    Raises:
        PreconditionError: MODEL_NOT_FOUND with the path or repository tried, MODEL_BROKEN with the file at fault.
    """
    transformer, lora = settings.transformer_paths.get(row.name), settings.lora_paths.get(row.name)
    if row.needs_lora and lora is None:
        raise model_not_found(row.name, "(no path)", "its LoRA's path must be set: WANWORKER_GENERATOR_LORA_PATHS")
    for file in (transformer, lora):
        if file is not None and not file.expanduser().is_file():
            raise model_not_found(row.name, file, "no such file")
    folder = _configured_folder(row, settings)
    commit = ""
    if folder is None:
        folder = _snapshot(row, settings, download=download and not settings.offline)
        commit = folder.name
    if not (folder / INDEX).is_file():
        raise model_not_found(row.name, folder, "no such folder" if not folder.is_dir() else f"no {INDEX} in it")
    files = (None if file is None else file.expanduser() for file in (transformer, lora))
    source = Source(row.name, folder, commit, *files)
    check(source)
    return source


def is_available(row: ModelRow, settings: GeneratorSettings) -> bool:
    """True if the checkpoint is on this machine and looks whole."""
    try:
        locate(row, settings)
    except PreconditionError:
        return False
    return True


def check(source: Source) -> None:
    """Raises MODEL_BROKEN at the first file of the checkpoint that is missing or not what it should be."""
    for component in components(source):
        folder = source.folder / component
        config = folder / _CONFIG_NAMES.get(component, "config.json")
        if not config.is_file():
            raise model_broken(source.name, config, "the file is missing")
        if component not in _WITHOUT_WEIGHTS and (component != "transformer" or source.transformer is None):
            for file in weight_files(source, component):
                if not file.is_file():
                    raise model_broken(source.name, file, "the file is missing")


def components(source: Source) -> list[str]:
    """Names of the components that `model_index.json` lists and does not leave empty."""
    index = read_json(source, source.folder / INDEX)
    return [
        name
        for name, value in index.items()
        if not name.startswith("_") and isinstance(value, list) and value and value[0] is not None
    ]


def weight_files(source: Source, component: str) -> list[Path]:
    """The component's safetensors files, as its index or, without one, its folder has them."""
    folder = source.folder / component
    for index in sorted(folder.glob("*.safetensors.index.json")):
        shards = set(read_json(source, index).get("weight_map", {}).values())
        return [folder / shard for shard in sorted(shards)]
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise model_broken(source.name, folder, "there are no safetensors in it")
    return files


def count_parameters(source: Source, component: str) -> int:
    """Numbers stored for a component: read from the files' headers, so exact and quick."""
    return sum(
        _product(entry["shape"])
        for file in weight_files(source, component)
        for name, entry in _header(source, file).items()
        if name != "__metadata__"
    )


def read_json(source: Source, path: Path) -> dict[str, Any]:
    """A JSON object of the checkpoint; raises MODEL_BROKEN if it is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise model_broken(source.name, path, "the file is missing") from None
    except (OSError, ValueError) as error:
        raise model_broken(source.name, path, f"it cannot be read ({error})") from error
    if not isinstance(value, dict):
        raise model_broken(source.name, path, "it holds no JSON object")
    return value


def revision(source: Source) -> str:
    """The hub's commit; of another folder a digest that changes with its configuration or weights.

    Weights are taken by name, length, and their first and last MiB: hashing 30 GB would take longer than loading
    them.
    """
    if source.commit and source.transformer is None and source.lora is None:
        return source.commit
    digest = hashlib.sha256()
    for path in _revision_files(source):
        name = path.relative_to(source.folder) if path.is_relative_to(source.folder) else path.name
        digest.update(f"{name}:{path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            digest.update(file.read(_EDGE_BYTES))
            file.seek(max(0, path.stat().st_size - _EDGE_BYTES))
            digest.update(file.read(_EDGE_BYTES))
    return f"sha256:{digest.hexdigest()[:32]}"


def _revision_files(source: Source) -> Iterator[Path]:
    yield source.folder / INDEX
    yield from (file for file in (source.transformer, source.lora) if file is not None)
    for component in sorted(components(source)):
        folder = source.folder / component
        yield from sorted([*folder.glob("*.json"), *folder.glob("*.safetensors"), *folder.glob("*.model")])


def _configured_folder(row: ModelRow, settings: GeneratorSettings) -> Path | None:
    if row.name in settings.model_paths:
        return settings.model_paths[row.name].expanduser()
    if not row.repo:
        return settings.demo_path.expanduser()
    if settings.models_dir is not None:
        folder = settings.models_dir.expanduser() / row.name
        if folder.is_dir():
            return folder
    return None


def _snapshot(row: ModelRow, settings: GeneratorSettings, *, download: bool) -> Path:
    from huggingface_hub import snapshot_download

    wanted = settings.model_revisions.get(row.name, row.revision)
    tried = f"{row.repo}@{wanted}"
    cache = settings.hub_cache.expanduser() if settings.hub_cache else None
    try:
        path = snapshot_download(
            row.repo,
            revision=wanted,
            cache_dir=cache,
            local_files_only=not download,
            allow_patterns=list(_PATTERNS) + [f"*/{pattern}" for pattern in _PATTERNS],
        )
    # The hub's client raises its own errors, httpx's and OSError; all of them mean that there is no such snapshot.
    except Exception as error:
        detail = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no detail'}"
        raise model_not_found(row.name, tried, detail[:300]) from error
    return Path(path)


def _header(source: Source, file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > file.stat().st_size:
                raise ValueError("its header is longer than the file")
            header = json.loads(stream.read(length))
    except (OSError, ValueError) as error:
        raise model_broken(source.name, file, f"it is no safetensors file ({error})") from error
    if not isinstance(header, dict):
        raise model_broken(source.name, file, "its header is no JSON object")
    end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
    if 8 + length + end != file.stat().st_size:
        raise model_broken(source.name, file, "it is cut short")
    return header


def _product(shape: list[int]) -> int:
    product = 1
    for length in shape:
        product *= length
    return product
