"""The generator's settings; prefix `WANWORKER_GENERATOR_`."""

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from wanworker.runtime.settings import ServiceSettings

DEMO_FOLDER = Path("models/wan-demo")


class GeneratorSettings(ServiceSettings):
    """Everything about the generator that can be set from outside."""

    model_config = SettingsConfigDict(
        env_prefix="WANWORKER_GENERATOR_", frozen=True, extra="ignore", protected_namespaces=()
    )

    port: int = Field(50053, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    default_model: str = Field("demo", description="Model that is loaded at start, and marked as the default.")
    demo_path: Path = Field(DEMO_FOLDER, description="Folder of the demo checkpoint.")
    model_paths: dict[str, Path] = Field(
        default_factory=dict, description="Folders in diffusers layout by model name, as JSON; they win over the hub."
    )
    transformer_paths: dict[str, Path] = Field(
        default_factory=dict,
        description="Single-file transformers (GGUF or safetensors, in Wan's own layout) by model name, as JSON; the "
        "rest of the model comes from its folder.",
    )
    lora_paths: dict[str, Path] = Field(
        default_factory=dict, description="LoRA files (safetensors) by model name, as JSON; merged at loading."
    )
    models_dir: Path | None = Field(None, description="Folder with a checkpoint folder a model, named as the model is.")
    model_revisions: dict[str, str] = Field(
        default_factory=dict, description="Hub revisions by model name, as JSON; better a commit than a branch."
    )
    hub_cache: Path | None = Field(None, description="Cache folder of the hub; its own default when unset.")
    offline: bool = Field(False, description="Never ask the hub: only what is in its cache counts.")
    cache_dir: Path = Field(
        Path("~/.cache/wanworker/generator"), description="Where measured speeds and preview factors are kept."
    )
    device: str = Field("auto", description="`auto` (CUDA if there is any), `cpu`, `cuda` or `cuda:N`.")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Precision of transformer and text encoder; `auto` takes the faster one of the device."
    )
    vae_dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Precision of the autoencoder; `auto` is bf16 on CUDA and fp32 elsewhere."
    )
    attention: Literal["auto", "native", "cudnn", "flash4"] = Field(
        "auto",
        description="Attention kernels on CUDA: torch's own choice, cuDNN's, or FlashAttention-4 (the extra `flash`); "
        "`auto` times those that are there and takes the fastest.",
    )
    compile_modules: bool = Field(
        False,
        description="Compile the transformer's blocks and the decoder's norms on CUDA. Warming up then makes a clip of "
        "the default size too, about half a minute; the first job of any other size takes some ten seconds longer.",
    )
    memory_budget_bytes: int | None = Field(
        None,
        ge=1,
        description="Most device memory that the generator may use, weights included; all there is when unset. "
        "On the CPU, tensors are counted one by one, which costs some speed.",
    )
    threads: int | None = Field(None, ge=1, description="CPU threads of torch and x264; the usable cores when unset.")
    queue_limit: int = Field(16, ge=0, description="Jobs that may wait before Generate answers QUEUE_FULL.")
    concurrent_jobs: int = Field(
        4,
        ge=1,
        description="Videos that share the device, one denoising step at a time each, as far as memory allows; as many "
        "stills go before them.",
    )
    preload: bool = Field(True, description="Load the default model before health says SERVING.")
    warm_up_job: bool = Field(
        True, description="After preloading, make one still of two steps: it warms the device and calibrates estimates."
    )
    calibrate: bool = Field(
        True,
        description="On CUDA, measure the default model's speeds at several sizes before serving, unless the cache "
        "folder has them: half a minute on a fast card.",
    )
    admission: bool = Field(True, description="Refuse jobs that by estimate do not fit, instead of trying them.")
    loaded_models: int = Field(1, ge=1, description="Models kept in memory; the one unused for longest goes first.")
    prompt_cache_size: int = Field(64, ge=0, description="Prompt embeddings kept in host memory.")
    max_reference_pixels: int = Field(
        64_000_000, ge=1, description="Most pixels of a reference image; larger ones are refused before decoding."
    )
    crf: int = Field(18, ge=0, le=51, description="H.264 quality: 18 looks lossless, higher is smaller.")
    encoder_preset: Literal["ultrafast", "veryfast", "faster", "fast", "medium", "slow"] = Field(
        "faster", description="x264's trade of time for size."
    )

    @field_validator("attention")
    @classmethod
    def _installed(cls, attention: str) -> str:
        if attention == "flash4" and not _has_flash_attention_4():
            raise ValueError("flash4 needs the package flash-attn-4, which the extra `flash` of wanworker brings")
        return attention


def _has_flash_attention_4() -> bool:
    try:
        return find_spec("flash_attn.cute") is not None
    except ModuleNotFoundError:  # no flash_attn at all
        return False
