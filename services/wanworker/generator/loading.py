"""From a checkpoint on disk to modules in memory."""

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from transformers.utils import logging as transformers_logging

from wanworker.generator.device import Device, is_out_of_memory
from wanworker.generator.errors import model_broken
from wanworker.generator.offloading import OffloadedModule
from wanworker.generator.plans import PLANS, MemoryPlan
from wanworker.generator.previews import LatentRgb, read_latent_rgb
from wanworker.generator.registry import ModelRow, PipelineKind
from wanworker.generator.shapes import ModelShape, read_shape
from wanworker.generator.sharing import BlockCache
from wanworker.generator.sources import INDEX, Source, components, read_json, revision

_LOGGER = logging.getLogger("wanworker.generator.loading")
_DIFFUSERS: Any = diffusers  # both say that they are typed, and are not
_TRANSFORMERS_LOGGING: Any = transformers_logging
_TRANSFORMERS = ("transformer", "transformer_2")

# A service's standard error is a log, not a terminal.
_DIFFUSERS.utils.logging.disable_progress_bar()
_TRANSFORMERS_LOGGING.disable_progress_bar()


@dataclass(eq=False)
class LoadedModel:
    """A model in memory. Its modules are shared by all jobs; what a job changes lives in objects of its own."""

    row: ModelRow
    """The registry's row."""
    source: Source
    """Where it came from."""
    revision: str
    """Which weights."""
    shape: ModelShape
    """Its sizes."""
    device: Device
    """Where it is."""
    modules: dict[str, Any]
    """Components by their names in `model_index.json`; None where the checkpoint leaves one empty."""
    options: dict[str, Any] = field(default_factory=dict)
    """The pipeline's scalar options: `expand_timesteps`, `boundary_ratio`."""
    latent_rgb: LatentRgb | None = None
    """Map for previews, if the checkpoint brings one."""
    plan: MemoryPlan = PLANS[0]
    """How it lies in the device's memory."""
    offloaded: OffloadedModule | None = None
    """The text encoder, once the plan had it wait in main memory."""
    text_lock: threading.RLock = field(default_factory=threading.RLock)
    """Held while the text encoder is used, loaded or dropped."""
    block_caches: dict[str, BlockCache] = field(init=False)
    """By the name of the transformer."""

    def __post_init__(self) -> None:
        self.block_caches = {name: BlockCache(self.modules[name]) for name in _TRANSFORMERS if self.modules.get(name)}

    @property
    def vae(self) -> Any:
        """The autoencoder."""
        return self.modules["vae"]

    @property
    def transformers(self) -> list[Any]:
        """The transformer, or both of a two-stage model."""
        return [self.modules[name] for name in _TRANSFORMERS if self.modules.get(name) is not None]

    def weights(self) -> Iterator[torch.Tensor]:
        """The weights that are loaded now."""
        for module in self.modules.values():
            if isinstance(module, torch.nn.Module):
                yield from module.parameters()
                yield from module.buffers()

    def resident_bytes(self) -> int:
        """Memory of the weights that are loaded now."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.weights())

    def evict_text_encoder(self) -> None:
        """Frees the device's memory of the text encoder; `ensure_text_encoder` brings it back.

        From main memory, where the plan has it wait there; else from its file, and main memory is free too. A GPU's
        allocator keeps the blocks until others are needed: to give them back, garbage collected, took 0.55 s of a job.
        """
        with self.text_lock:
            if self.plan.offload_text_encoder:
                self.rest_text_encoder()
            elif (encoder := self.modules["text_encoder"]) is not None:
                for tensor in (*encoder.parameters(), *encoder.buffers()):
                    tensor.data = tensor.data.new_empty(0)  # whoever may still know the module
                self.modules["text_encoder"] = self.offloaded = None

    def rest_text_encoder(self) -> None:
        """Puts the text encoder where the plan wants it between prompts."""
        if not self.plan.offload_text_encoder:
            return  # whoever needs no text encoded does not wait for those who do
        with self.text_lock:
            if self.modules["text_encoder"] is None:
                return
            if self.offloaded is None:
                self.offloaded = OffloadedModule(self.modules["text_encoder"], self.device.torch)
            self.offloaded.rest()

    def ensure_text_encoder(self) -> None:
        """Brings the text encoder back if it was evicted or offloaded."""
        with self.text_lock:
            if self.modules["text_encoder"] is None:
                self.modules["text_encoder"] = _read_text_encoder(self.source, self.device)
            elif self.offloaded is not None and not self.offloaded.present:
                self.offloaded.fetch()


def load(row: ModelRow, source: Source, device: Device) -> LoadedModel:
    """Reads all weights.

    Raises:
        PreconditionError: MODEL_BROKEN with the file or folder at fault.
        torch.OutOfMemoryError: they do not fit.
    """
    shape = read_shape(source, row)
    _check_kind(row, source, shape)
    replaced: dict[str, Any] = {}
    if source.transformer is not None:
        replaced["transformer"] = _read_single_file(row, source, source.transformer, device)
    pipeline = _read(source, device, **replaced)
    if source.lora is not None:
        _add_lora(pipeline, source, source.lora)
    options = {name: value for name, value in pipeline.config.items() if name in ("expand_timesteps", "boundary_ratio")}
    modules = dict(pipeline.components)
    model = LoadedModel(row, source, revision(source), shape, device, modules, options, read_latent_rgb(source))
    _LOGGER.info("Loaded %s (%s) on %s in %s", row.name, source.folder, device.label, device.dtype)
    return model


def _read(source: Source, device: Device, **replaced: Any) -> Any:
    """The checkpoint's own pipeline; `replaced` components come from elsewhere and are not read.

    The precision goes in here and never through `.to(bfloat16)` later: only so do norms and the time embedder stay
    in fp32.
    """
    dtypes = {
        "default": device.dtype,
        "transformer": device.dtype,
        "transformer_2": device.dtype,
        "text_encoder": device.dtype,
        "vae": device.vae_dtype,
        "image_encoder": torch.float32,
    }
    present = set(components(source))
    dtypes = {name: dtype for name, dtype in dtypes.items() if name == "default" or name in present}
    try:
        pipeline = _DIFFUSERS.DiffusionPipeline.from_pretrained(
            source.folder, dtype=dtypes, use_safetensors=True, local_files_only=True, **replaced
        )
        return pipeline.to(device.torch)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise model_broken(source.name, source.folder, f"{type(error).__name__}: {error}"[:500]) from error


def _read_text_encoder(source: Source, device: Device) -> Any:
    """The text encoder alone.

    Not by a pipeline with the others left out: one whose class has a default for the transformer, as Wan's has, reads
    it nevertheless, and that is the memory which an evicted text encoder was to save.
    """
    folder = source.folder / "text_encoder"
    try:
        library, name = read_json(source, source.folder / INDEX)["text_encoder"]
        if library != "transformers":
            raise ValueError(f"a text encoder of {library!r}, not of transformers")
        kind: Any = getattr(transformers, name)
        return kind.from_pretrained(folder, dtype=device.dtype, use_safetensors=True, local_files_only=True).to(
            device.torch
        )
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise model_broken(source.name, folder, f"{type(error).__name__}: {error}"[:500]) from error


def _read_single_file(row: ModelRow, source: Source, path: Path, device: Device) -> Any:
    """A transformer from one file. GGUF weights stay packed and are unpacked layer by layer as they are used."""
    control = row.kind is PipelineKind.CONTROL
    kind = _DIFFUSERS.WanVACETransformer3DModel if control else _DIFFUSERS.WanTransformer3DModel
    packed = path.suffix == ".gguf"
    quantization = _DIFFUSERS.GGUFQuantizationConfig(compute_dtype=device.dtype) if packed else None
    try:
        transformer = kind.from_single_file(
            str(path),
            config=str(source.folder),
            subfolder="transformer",
            quantization_config=quantization,
            torch_dtype=device.dtype,
            local_files_only=True,
        )
        return transformer.to(device.torch)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise model_broken(source.name, path, f"{type(error).__name__}: {error}"[:500]) from error


def _add_lora(pipeline: Any, source: Source, path: Path) -> None:
    """Merges a LoRA into the transformer; packed weights cannot take it in, so there it stays beside them."""
    try:
        pipeline.load_lora_weights(str(path.parent), weight_name=path.name, local_files_only=True)
        if source.transformer is None or source.transformer.suffix != ".gguf":
            pipeline.fuse_lora(components=["transformer"])
            pipeline.unload_lora_weights()
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise model_broken(source.name, path, f"{type(error).__name__}: {error}"[:500]) from error


def _check_kind(row: ModelRow, source: Source, shape: ModelShape) -> None:
    """The checkpoint must be what the registry takes it for."""
    index = source.folder / INDEX
    found = read_json(source, index).get("_class_name")
    wanted = row.kind.value.partition(",")[0]
    if found != wanted:
        raise model_broken(row.name, index, f"it is a {found}, not a {wanted}")
    if row.kind is PipelineKind.TEXT_OR_IMAGE and not shape.token_timesteps:
        raise model_broken(row.name, index, "expand_timesteps is off, so that it cannot hold a first frame")
    multiple = shape.stride * shape.patch[1]
    if row.size_multiple % multiple:
        raise model_broken(row.name, index, f"frames must be multiples of {multiple}, not of {row.size_multiple}")
