"""The presets, and what a job type implies."""

from dataclasses import dataclass

from wanworker.gateway.asked import JobSpec, JobType, OutputFormat, Quality


@dataclass(frozen=True)
class Preset:
    """How much effort a result is worth."""

    guidance_scale: float
    """Classifier-free guidance."""
    steps: int
    """Denoising steps."""
    fps: int
    """Frames a second."""


PRESETS = {
    Quality.FAST: Preset(guidance_scale=5.0, steps=15, fps=12),
    Quality.BALANCED: Preset(guidance_scale=6.5, steps=20, fps=14),
    Quality.HIGH: Preset(guidance_scale=7.5, steps=25, fps=16),
}
"""The table of the design."""

IMPLIED = {
    JobType.UNSPECIFIED: Quality.FAST,
    JobType.IMAGE_FAST: Quality.FAST,
    JobType.IMAGE_HIGH: Quality.HIGH,
    JobType.VIDEO_FAST: Quality.FAST,
    JobType.VIDEO_HIGH: Quality.HIGH,
}
"""The preset of a job type where the spec names none."""

LOWER = {Quality.HIGH: Quality.BALANCED, Quality.BALANCED: Quality.FAST}
"""The next preset down; fast has none."""

DEFAULT_SECONDS = 5.0
"""Length of a video that asks for none, if the model takes as much."""


def quality_of(spec: JobSpec) -> Quality:
    """The preset that a spec asks for."""
    return spec.quality or IMPLIED[spec.job_type]


def format_of(spec: JobSpec) -> OutputFormat:
    """The file format that a spec asks for."""
    if spec.format:
        return spec.format
    return OutputFormat.PNG if spec.job_type.still else OutputFormat.MP4
