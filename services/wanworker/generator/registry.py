"""The models that the generator knows: one row each, no code for any of them."""

from dataclasses import dataclass
from enum import Enum

from wanworker.generator.errors import model_unknown


class Capability(Enum):
    """What a model can be asked for; values are the names of `wanworker.v1.ModelCapability`."""

    TEXT_TO_VIDEO = "MODEL_CAPABILITY_TEXT_TO_VIDEO"
    TEXT_TO_IMAGE = "MODEL_CAPABILITY_TEXT_TO_IMAGE"
    IMAGE_TO_VIDEO = "MODEL_CAPABILITY_IMAGE_TO_VIDEO"
    LAST_FRAME = "MODEL_CAPABILITY_LAST_FRAME"
    SUBJECT_IMAGES = "MODEL_CAPABILITY_SUBJECT_IMAGES"
    EXTEND_CLIP = "MODEL_CAPABILITY_EXTEND_CLIP"

    @property
    def noun(self) -> str:
        """The product, for messages."""
        return {
            "TEXT_TO_VIDEO": "a video from text alone",
            "TEXT_TO_IMAGE": "a still from text",
            "IMAGE_TO_VIDEO": "a video from a reference image",
            "LAST_FRAME": "a video up to a given last frame",
            "SUBJECT_IMAGES": "a picture of given subjects",
            "EXTEND_CLIP": "a video that goes on from a clip",
        }[self.name]

    @property
    def field(self) -> str:
        """The request's field that asks for it."""
        return {
            "TEXT_TO_IMAGE": "settings.frames",
            "LAST_FRAME": "last_frame",
            "SUBJECT_IMAGES": "subject_images",
            "EXTEND_CLIP": "extended_clip",
        }.get(self.name, "reference_image")


class PipelineKind(Enum):
    """Which diffusers pipeline runs the model."""

    TEXT = "WanPipeline"
    """Text only."""
    TEXT_OR_IMAGE = "WanPipeline, WanImageToVideoPipeline"
    """One set of modules under both pipelines: per-token timesteps hold the first frame (`expand_timesteps`).

    The pipeline takes a last frame too, and drops it silently: hence no LAST_FRAME.
    """
    IMAGE = "WanImageToVideoPipeline"
    """The transformer takes the image as extra channels and has no mode without it."""
    CONTROL = "WanVACEPipeline"
    """The transformer is steered by frames that are given, a mask of those that are not, and pictures of subjects."""


_TEXT = frozenset({Capability.TEXT_TO_VIDEO, Capability.TEXT_TO_IMAGE})
_IMAGE = frozenset({Capability.IMAGE_TO_VIDEO})
CAPABILITIES: dict[PipelineKind, frozenset[Capability]] = {
    PipelineKind.TEXT: _TEXT,
    PipelineKind.TEXT_OR_IMAGE: _TEXT | _IMAGE,
    PipelineKind.IMAGE: _IMAGE,
    PipelineKind.CONTROL: frozenset(Capability),
}


@dataclass(frozen=True)
class ModelRow:
    """One model."""

    name: str
    """The name to ask for."""
    kind: PipelineKind
    """How it is run."""
    repo: str
    """Hub repository in diffusers layout; empty for a model that is a local folder only."""
    licence: str
    """SPDX identifier of the weights' licence."""
    width: int
    """Pixels that it works best at."""
    height: int
    """Pixels that it works best at."""
    frames: int
    """Frames that it works best at."""
    fps: int
    """Frames a second that it was trained at."""
    max_frames: int
    """Most frames that it takes."""
    guidance_scale: float = 5.0
    """Guidance that it works best with."""
    revision: str = "main"
    """Hub revision."""
    size_multiple: int = 16
    """Width and height are multiples of this: the autoencoder's stride times the transformer's patch."""
    prompt_tokens: int = 512
    """Tokens that a prompt is padded or cut to; a tokenizer that says less wins."""
    steps: int = 0
    """Steps that it was distilled for; 0: the caller decides."""
    solver_order: int = 2
    """Steps that the solver looks back; few-step models want 1."""
    needs_lora: bool = False
    """True for what is a LoRA over `repo`; its path is a setting."""
    flow_shift: tuple[tuple[int, float], ...] = ()
    """(most pixels of a frame, shift) by rising size, the last for all above. Empty: the checkpoint decides."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it is served for today."""
        return CAPABILITIES[self.kind]

    def flow_shift_for(self, width: int, height: int) -> float | None:
        """The shift for a frame size; None leaves it to the checkpoint's scheduler."""
        for pixels, shift in self.flow_shift:
            if width * height <= pixels:
                return shift
        return self.flow_shift[-1][1] if self.flow_shift else None


# 3 up to 480p, 5 at 720p (Wan's own samplers). The bound lies half-way, in pixels, between 832×480 and 1280×720.
_SHIFT_BY_SIZE = ((660_000, 3.0), (1 << 62, 5.0))

ROWS: tuple[ModelRow, ...] = (
    ModelRow("demo", PipelineKind.TEXT_OR_IMAGE, "", "Apache-2.0", 256, 144, 33, 16, max_frames=81, guidance_scale=4.0),
    ModelRow(
        "wan2.1-t2v-1.3b",
        PipelineKind.TEXT,
        "Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
        "Apache-2.0",
        832,
        480,
        81,
        16,
        max_frames=129,
        flow_shift=_SHIFT_BY_SIZE,
    ),
    ModelRow(
        "wan2.1-t2v-14b-4step",
        PipelineKind.TEXT,
        "Wan-AI/Wan2.1-T2V-14B-Diffusers",
        "Apache-2.0",
        832,
        480,
        81,
        16,
        max_frames=129,
        guidance_scale=1.0,
        steps=4,
        solver_order=1,
        needs_lora=True,
        flow_shift=((1 << 62, 5.0),),
    ),
    ModelRow(
        "wan2.1-t2v-14b",
        PipelineKind.TEXT,
        "Wan-AI/Wan2.1-T2V-14B-Diffusers",
        "Apache-2.0",
        1280,
        720,
        81,
        16,
        max_frames=129,
        flow_shift=_SHIFT_BY_SIZE,
    ),
    ModelRow(
        "wan2.1-i2v-14b-480p",
        PipelineKind.IMAGE,
        "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers",
        "Apache-2.0",
        832,
        480,
        81,
        16,
        max_frames=129,
        flow_shift=((1 << 62, 3.0),),
    ),
    ModelRow(
        "wan2.1-i2v-14b-720p",
        PipelineKind.IMAGE,
        "Wan-AI/Wan2.1-I2V-14B-720P-Diffusers",
        "Apache-2.0",
        1280,
        720,
        81,
        16,
        max_frames=129,
        flow_shift=((1 << 62, 5.0),),
    ),
    ModelRow(
        "wan2.1-vace-1.3b",
        PipelineKind.CONTROL,
        "Wan-AI/Wan2.1-VACE-1.3B-diffusers",
        "Apache-2.0",
        832,
        480,
        81,
        16,
        max_frames=129,
        flow_shift=_SHIFT_BY_SIZE,
    ),
    ModelRow(
        "wan2.2-ti2v-5b",
        PipelineKind.TEXT_OR_IMAGE,
        "Wan-AI/Wan2.2-TI2V-5B-Diffusers",
        "Apache-2.0",
        1280,
        704,
        121,
        24,
        max_frames=241,
        size_multiple=32,
        flow_shift=((1 << 62, 5.0),),
    ),
)
"""All rows, the demo first."""

_BY_NAME = {row.name: row for row in ROWS}


def find_row(name: str) -> ModelRow:
    """The row of that name; raises MODEL_UNKNOWN with the names there are."""
    try:
        return _BY_NAME[name]
    except KeyError:
        raise model_unknown(name, _BY_NAME) from None


def capable_models(*wanted: Capability) -> list[str]:
    """Names of the models that can do all of this."""
    return [row.name for row in ROWS if row.capabilities.issuperset(wanted)]
