"""What the generator is asked for and what it says: frozen dataclasses, no gRPC and no protobuf."""

from dataclasses import dataclass
from enum import IntEnum

from wanworker.gateway.asked import BYTES_AS_BASE64


class Stage(IntEnum):
    """Where a job stands in its work."""

    UNSPECIFIED = 0
    QUEUED = 1
    ENHANCING = 2
    LOADING_MODEL = 3
    ENCODING_TEXT = 4
    DENOISING = 5
    DECODING = 6
    MUXING = 7
    STORING = 8


class Capability(IntEnum):
    """What a model can be asked for."""

    UNSPECIFIED = 0
    TEXT_TO_VIDEO = 1
    TEXT_TO_IMAGE = 2
    IMAGE_TO_VIDEO = 3
    LAST_FRAME = 4
    SUBJECT_IMAGES = 5
    EXTEND_CLIP = 6


@dataclass(frozen=True)
class MemoryOptions:
    """How GPU memory is spared without changing the result."""

    tiled_decode: bool = False
    """Decode tile by tile."""
    evict_text_encoder: bool = False
    """Free the text encoder once the prompt is encoded."""
    free_caches: bool = False
    """Return cached blocks first."""


@dataclass(frozen=True)
class GenerationSettings:
    """Everything that decides what a generation costs; nothing is left open."""

    model: str
    """Row of the registry."""
    width: int
    """Generated width, a multiple of 16."""
    height: int
    """Generated height, a multiple of 16."""
    frames: int
    """4k + 1; 1 is a still."""
    fps: int
    """12 to 24."""
    steps: int
    """Denoising steps."""
    guidance_scale: float
    """1 switches guidance off."""
    flow_shift: float | None = None
    """The model's own when None."""
    memory: MemoryOptions = MemoryOptions()
    """How memory is spared."""


@dataclass(frozen=True)
class ModelInfo:
    """One row of the generator's registry."""

    name: str
    """The name to ask for."""
    capabilities: frozenset[Capability]
    """What it can do."""
    default_width: int
    """Pixels."""
    default_height: int
    """Pixels."""
    default_frames: int
    """Frames that it works best at."""
    default_fps: int
    """Frames a second that it was trained at."""
    max_frames: int
    """Most frames that it takes; 0 where the generator does not say."""
    is_default: bool = False
    """Whether a spec that names no model gets this one."""
    is_available: bool = False
    """Whether its files are on the generator's machine."""
    size_multiple: int = 16
    """Width and height must be multiples of this."""


@dataclass(frozen=True)
class StageSeconds:
    """How long a stage took or would take."""

    stage: Stage
    """The stage."""
    seconds: float
    """Wall-clock seconds."""


@dataclass(frozen=True)
class FrameStatistics:
    """Measurements over the finished frames, each from 0 to 1."""

    mean_luma: float
    """0 is black."""
    luma_deviation: float
    """Near 0 is flat."""
    mean_frame_difference: float
    """0 is frozen."""


@dataclass(frozen=True)
class CostEstimate:
    """What a generation would take."""

    fits: bool
    """Whether it fits into memory."""
    needed_bytes: int
    """Peak of the job."""
    available_bytes: int
    """What it could have."""
    seconds: float
    """From start to finished file."""
    stages: tuple[StageSeconds, ...] = ()
    """The same, stage by stage."""


@dataclass(frozen=True)
class Made:
    """What the generator says of a file that it made."""

    __pydantic_config__ = BYTES_AS_BASE64

    settings: GenerationSettings
    """As they were used."""
    model_revision: str
    """Revision of the weights."""
    width: int
    """Of the file, after cropping."""
    height: int
    """Of the file, after cropping."""
    media_type: str
    """Of the file."""
    size_bytes: int
    """Length of the file."""
    sha256: bytes
    """32 bytes."""
    statistics: FrameStatistics
    """Over the frames."""
    stages: tuple[StageSeconds, ...] = ()
    """Where the time went."""
    peak_memory_bytes: int = 0
    """0 where the device does not count."""
    reference_used: bool = False
    """Whether the request had a reference image."""
    attempt: int = 0
    """The attempt that made it."""
