"""Settings of the enhancer, from the environment, prefix `WANWORKER_ENHANCER_`."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from wanworker.runtime.settings import ServiceSettings


class EnhancerSettings(ServiceSettings):
    """What the enhancer can be told. The model comes from `model_path`, or else from the hub."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_prefix="WANWORKER_ENHANCER_", protected_namespaces=()
    )

    port: int = Field(default=50052, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    model_path: Path | None = Field(
        default=None,
        description="GGUF file; of a split model its first part. Without it the model comes from the hub.",
    )
    model_repo: str = Field(default="Qwen/Qwen2.5-7B-Instruct-GGUF", description="Repository on the Hugging Face hub.")
    model_file: str = Field(
        default="qwen2.5-7b-instruct-q4_k_m-00001-of-00002.gguf",
        description="GGUF file in the repository; all parts of a split model are fetched.",
    )
    model_revision: str = Field(default="main", description="Branch, tag or commit of the repository.")
    model_cache: Path | None = Field(
        default=None,
        description="Folder of downloaded models; the hub's own (HF_HUB_CACHE, HF_HOME) when unset.",
    )
    model_name: str = Field(default="", description="Name to show for the model; the file's name when empty.")
    prompt_style: Literal["auto", "chat", "completion"] = Field(
        default="auto",
        description="`auto` talks to models with a chat template and lets the others complete an example.",
    )
    preload: bool = Field(default=False, description="Load the model at the start instead of with the first prompt.")
    context_tokens: int = Field(
        default=2048, ge=256, le=131072, description="Tokens that instructions, prompt and answer share."
    )
    threads: int | None = Field(
        default=None,
        ge=1,
        le=512,
        description="CPU threads; when unset one a usable physical core, 16 at most, and one for models below 100 MB.",
    )
    gpu_layers: int = Field(
        default=-1,
        ge=-1,
        description="Layers on the GPU; -1 is all of them. Without GPU support in llama.cpp there are none.",
    )
    max_tokens: int = Field(
        default=200, ge=16, le=1024, description="Tokens to write at most, unless the request says."
    )
    temperature: float = Field(default=0.7, ge=0, le=2, description="Sampling temperature, unless the request says.")
    top_k: int = Field(default=40, ge=0, description="Sample from so many of the likeliest tokens; 0 is all.")
    top_p: float = Field(
        default=0.9, gt=0, le=1, description="Sample from the likeliest tokens of this joint probability."
    )
    min_p: float = Field(
        default=0.05, ge=0, lt=1, description="Drop tokens less likely than this share of the likeliest."
    )
    repeat_penalty: float = Field(default=1.05, ge=1, le=2, description="Weakens the last 64 tokens written; 1 is off.")
    queue_limit: int = Field(default=16, ge=0, description="Prompts that may wait before Enhance answers QUEUE_FULL.")
    cache_entries: int = Field(default=256, ge=0, description="Answers kept; 0 keeps none.")
    cache_unseeded_seconds: float = Field(
        default=600.0,
        ge=0,
        description="How long a prompt without a seed is answered by its last answer; 0 always writes anew.",
    )
    idle_unload_seconds: float = Field(
        default=300.0, ge=0, description="Free the model's memory after so long without a prompt; 0 keeps it."
    )
