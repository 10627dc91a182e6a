"""What is asked of the generator and what it tells, as plain data."""

import math
from dataclasses import dataclass, field
from enum import Enum


class Stage(Enum):
    """Stages of a generation, in the order of work. Values are the names of `wanworker.v1.Stage`."""

    LOADING_MODEL = "STAGE_LOADING_MODEL"
    ENCODING_TEXT = "STAGE_ENCODING_TEXT"
    DENOISING = "STAGE_DENOISING"
    DECODING = "STAGE_DECODING"
    MUXING = "STAGE_MUXING"


class FileFormat(Enum):
    """Files that a generation can end in; values are media types."""

    MP4 = "video/mp4"
    PNG = "image/png"
    WEBP = "image/webp"


@dataclass(frozen=True)
class Memory:
    """How device memory is spared."""

    tiled_decode: bool = False
    """Decode tile by tile."""
    evict_text_encoder: bool = False
    """Drop the text encoder once the prompt is encoded."""
    free_caches: bool = False
    """Return cached blocks to the device first."""


@dataclass(frozen=True)
class Speed:
    """What is given up for speed; nothing by default."""

    guidance_cutoff: float = 0.0
    """Share of the last steps without guidance, which halves their cost; 0 to 1."""
    cache_threshold: float | None = None
    """FirstBlockCache: a forward ends after the first block if that changed by less than this; None: never."""


@dataclass(frozen=True)
class Settings:
    """Everything that decides the cost of a generation."""

    model: str
    """Row of the registry."""
    width: int
    """Pixels, a multiple of 16."""
    height: int
    """Pixels, a multiple of 16."""
    frames: int
    """4k + 1; 1 is a still."""
    fps: int
    """Frames a second of the file."""
    steps: int
    """Denoising steps."""
    guidance_scale: float
    """Classifier-free guidance; 1 is off."""
    flow_shift: float | None = None
    """Shift of the schedule; None is the model's own for this size."""
    memory: Memory = field(default_factory=Memory)
    """How memory is spared."""
    speed: Speed = field(default_factory=Speed)
    """What is given up for speed."""

    @property
    def guided_steps(self) -> int:
        """Steps with guidance, which are the first ones."""
        if self.guidance_scale <= 1:
            return 0
        return self.steps - math.floor(self.steps * self.speed.guidance_cutoff)

    @property
    def forwards(self) -> int:
        """Transformer forwards of all steps, none of them skipped by a cache."""
        return self.steps + self.guided_steps

    @property
    def is_still(self) -> bool:
        """True if there is one frame only."""
        return self.frames == 1


@dataclass(frozen=True)
class Order:
    """One fully resolved generation."""

    settings: Settings
    """Model, size, length and effort."""
    prompt: str
    """What to show."""
    negative_prompt: str
    """What to keep out."""
    seed: int
    """Seed of the noise, 64 bits unsigned."""
    format: FileFormat
    """The file to write."""
    reference_image: bytes | None = None
    """The first frame, encoded as PNG, JPEG or WebP."""
    last_frame: bytes | None = None
    """The last frame, encoded alike."""
    subject_images: tuple[bytes, ...] = ()
    """Pictures of what is to be shown, encoded alike."""
    extended_clip: bytes | None = None
    """An MP4 whose end becomes the beginning."""
    crop_width: int | None = None
    """Width to crop to; None keeps all."""
    crop_height: int | None = None
    """Height to crop to; None keeps all."""
    preview_interval_steps: int = 0
    """Steps from preview to preview; 0 is none."""

    @property
    def file_width(self) -> int:
        """Width of the file's frames."""
        return self.crop_width or self.settings.width

    @property
    def file_height(self) -> int:
        """Height of the file's frames."""
        return self.crop_height or self.settings.height


@dataclass(frozen=True)
class Queued:
    """The job waits."""

    position: int
    """Jobs that wait ahead of this one."""


@dataclass(frozen=True)
class Progress:
    """How far the job is."""

    stage: Stage
    """Current stage."""
    fraction: float
    """0 to 1 over the whole generation."""
    step: int = 0
    """Finished denoising steps; 0 outside of denoising."""
    total_steps: int = 0
    """Denoising steps in all; 0 outside of denoising."""
    eta_seconds: float | None = None
    """Estimated time left; None while nothing is known."""


@dataclass(frozen=True)
class Preview:
    """A strip of pictures made from the latents."""

    webp: bytes
    """The image file."""
    width: int
    """Pixels of the strip."""
    height: int
    """Pixels of the strip."""
    frames: int
    """Pictures side by side."""
    step: int
    """Step the latents are from."""


@dataclass(frozen=True)
class FrameStatistics:
    """Measurements over the finished frames."""

    mean_luma: float
    """0 (black) to 1."""
    luma_deviation: float
    """0 (flat) to 0.5."""
    mean_frame_difference: float
    """0 (frozen, or a still) to 1."""


@dataclass(frozen=True)
class StageSeconds:
    """Time of one stage."""

    stage: Stage
    """Which."""
    seconds: float
    """Wall clock."""


@dataclass(frozen=True)
class Result:
    """A finished generation."""

    file: bytes
    """The file."""
    sha256: bytes
    """32 bytes."""
    settings: Settings
    """What was used, flow_shift resolved."""
    model_revision: str
    """Which weights."""
    width: int
    """Of the file's frames."""
    height: int
    """Of the file's frames."""
    format: FileFormat
    """Of the file."""
    statistics: FrameStatistics
    """Over the frames."""
    stages: tuple[StageSeconds, ...]
    """In the order of work."""
    peak_memory_bytes: int
    """0 where the device does not count."""


Event = Queued | Progress | Preview | Result
"""What a generation tells, in this order; `Result` is the last."""
