"""Protobuf of the peers' contracts to dataclasses and back. Nothing is decided here."""

from enum import IntEnum
from typing import Any

from google.protobuf.duration_pb2 import Duration

from wanworker.gateway.generation import (
    Capability,
    CostEstimate,
    FrameStatistics,
    GenerationSettings,
    Made,
    MemoryOptions,
    ModelInfo,
    Stage,
    StageSeconds,
)
from wanworker.gateway.model import Preview, Progress
from wanworker.v1 import generator_pb2, types_pb2


def number(member: IntEnum) -> Any:
    """An enum's member as protobuf takes it."""
    return int(member)


def duration(seconds: float) -> Duration:
    """Seconds as protobuf has them."""
    message = Duration()
    message.FromNanoseconds(round(seconds * 1e9))
    return message


def seconds(message: Duration) -> float:
    """Protobuf's duration in seconds."""
    return message.ToNanoseconds() / 1e9


def settings_to_proto(settings: GenerationSettings) -> types_pb2.GenerationSettings:
    """Settings as the generator takes them."""
    memory = settings.memory
    return types_pb2.GenerationSettings(
        model=settings.model,
        width=settings.width,
        height=settings.height,
        frames=settings.frames,
        fps=settings.fps,
        steps=settings.steps,
        guidance_scale=settings.guidance_scale,
        flow_shift=settings.flow_shift,
        memory=None
        if memory == MemoryOptions()
        else types_pb2.MemoryOptions(
            tiled_decode=memory.tiled_decode,
            evict_text_encoder=memory.evict_text_encoder,
            free_caches=memory.free_caches,
        ),
    )


def settings_from_proto(message: types_pb2.GenerationSettings) -> GenerationSettings:
    """Settings as the generator says them."""
    memory = message.memory
    return GenerationSettings(
        model=message.model,
        width=message.width,
        height=message.height,
        frames=message.frames,
        fps=message.fps,
        steps=message.steps,
        guidance_scale=message.guidance_scale,
        flow_shift=message.flow_shift if message.HasField("flow_shift") else None,
        memory=MemoryOptions(memory.tiled_decode, memory.evict_text_encoder, memory.free_caches),
    )


def estimate_from_proto(message: types_pb2.Estimate) -> CostEstimate:
    """A cost as the generator says it."""
    return CostEstimate(
        fits=message.fits,
        needed_bytes=message.needed_bytes,
        available_bytes=message.available_bytes,
        seconds=seconds(message.duration),
        stages=tuple(StageSeconds(Stage(row.stage), seconds(row.duration)) for row in message.stages),
    )


def estimate_to_proto(estimate: CostEstimate) -> types_pb2.Estimate:
    """A cost as clients see it."""
    return types_pb2.Estimate(
        fits=estimate.fits,
        needed_bytes=estimate.needed_bytes,
        available_bytes=estimate.available_bytes,
        duration=duration(estimate.seconds),
        stages=[stage_to_proto(row) for row in estimate.stages],
    )


def stage_to_proto(row: StageSeconds) -> types_pb2.StageDuration:
    """How long a stage took."""
    return types_pb2.StageDuration(stage=number(row.stage), duration=duration(row.seconds))


def progress_from_proto(message: types_pb2.Progress) -> Progress:
    """The generator's progress."""
    return Progress(
        stage=Stage(message.stage),
        fraction=message.fraction,
        step=message.step,
        total_steps=message.total_steps,
        eta=seconds(message.eta) if message.HasField("eta") else None,
    )


def preview_from_proto(message: types_pb2.Preview) -> Preview:
    """The generator's preview."""
    return Preview(message.webp, message.width, message.height, message.frames, message.step)


def statistics_to_proto(statistics: FrameStatistics) -> types_pb2.FrameStatistics:
    """Measurements as clients see them."""
    return types_pb2.FrameStatistics(
        mean_luma=statistics.mean_luma,
        luma_deviation=statistics.luma_deviation,
        mean_frame_difference=statistics.mean_frame_difference,
    )


def made_from_proto(message: generator_pb2.GenerateCompleted) -> Made:
    """What the generator made."""
    statistics = message.statistics
    return Made(
        settings=settings_from_proto(message.settings),
        model_revision=message.model_revision,
        width=message.width,
        height=message.height,
        media_type=message.media_type,
        size_bytes=message.size_bytes,
        sha256=message.sha256,
        statistics=FrameStatistics(statistics.mean_luma, statistics.luma_deviation, statistics.mean_frame_difference),
        stages=tuple(StageSeconds(Stage(row.stage), seconds(row.duration)) for row in message.stages),
        peak_memory_bytes=message.peak_memory_bytes,
    )


def model_from_proto(message: generator_pb2.ModelInfo) -> ModelInfo:
    """One row of the registry."""
    known = {int(member) for member in Capability}
    return ModelInfo(
        name=message.name,
        capabilities=frozenset(Capability(value) for value in message.capabilities if value in known),
        default_width=message.default_width,
        default_height=message.default_height,
        default_frames=message.default_frames,
        default_fps=message.default_fps,
        max_frames=message.max_frames,
        is_default=message.is_default,
        is_available=message.available,
        size_multiple=message.size_multiple or 16,
    )
