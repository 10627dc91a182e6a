"""Protobuf messages to dataclasses and back; nothing else knows both."""

from collections.abc import Iterable, Iterator
from typing import Final, cast

from google.protobuf.duration_pb2 import Duration

from wanworker.generator.engine import Cost
from wanworker.generator.registry import Capability, ModelRow
from wanworker.generator.request import (
    Event,
    FileFormat,
    Memory,
    Order,
    Preview,
    Progress,
    Queued,
    Result,
    Settings,
    Speed,
    Stage,
    StageSeconds,
)
from wanworker.runtime.transport import CHUNK_BYTES
from wanworker.v1 import generator_pb2, types_pb2

_FORMATS: Final = {
    types_pb2.OUTPUT_FORMAT_MP4: FileFormat.MP4,
    types_pb2.OUTPUT_FORMAT_PNG: FileFormat.PNG,
    types_pb2.OUTPUT_FORMAT_WEBP: FileFormat.WEBP,
}


def settings_from_proto(message: types_pb2.GenerationSettings) -> Settings:
    """A message that passed validation, as data."""
    memory = message.memory
    return Settings(
        model=message.model,
        width=message.width,
        height=message.height,
        frames=message.frames,
        fps=message.fps,
        steps=message.steps,
        guidance_scale=message.guidance_scale,
        flow_shift=message.flow_shift if message.HasField("flow_shift") else None,
        memory=Memory(memory.tiled_decode, memory.evict_text_encoder, memory.free_caches),
        speed=_speed(message.speed),
    )


def _speed(message: types_pb2.SpeedOptions) -> Speed:
    threshold = message.step_cache_threshold if message.HasField("step_cache_threshold") else None
    return Speed(message.guidance_cutoff, threshold)


def settings_to_proto(settings: Settings) -> types_pb2.GenerationSettings:
    """The reverse."""
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
        memory=types_pb2.MemoryOptions(
            tiled_decode=memory.tiled_decode,
            evict_text_encoder=memory.evict_text_encoder,
            free_caches=memory.free_caches,
        ),
        speed=None
        if settings.speed == Speed()
        else types_pb2.SpeedOptions(
            guidance_cutoff=settings.speed.guidance_cutoff, step_cache_threshold=settings.speed.cache_threshold
        ),
    )


def order_from_proto(message: generator_pb2.GenerateRequest) -> Order:
    """A request that passed validation, as data."""
    return Order(
        settings=settings_from_proto(message.settings),
        prompt=message.prompt,
        negative_prompt=message.negative_prompt,
        seed=message.seed,
        format=_FORMATS[message.format],
        reference_image=message.reference_image if message.HasField("reference_image") else None,
        last_frame=message.last_frame if message.HasField("last_frame") else None,
        subject_images=tuple(message.subject_images),
        extended_clip=message.extended_clip if message.HasField("extended_clip") else None,
        crop_width=message.crop_width if message.HasField("crop_width") else None,
        crop_height=message.crop_height if message.HasField("crop_height") else None,
        preview_interval_steps=message.preview_interval_steps,
    )


def event_to_protos(event: Event) -> Iterator[generator_pb2.GenerateResponse]:
    """The messages for an event: one, or for a result all chunks and the completion."""
    match event:
        case Queued(position):
            yield generator_pb2.GenerateResponse(queued=generator_pb2.GenerateQueued(position=position))
        case Progress():
            yield generator_pb2.GenerateResponse(progress=_progress(event))
        case Preview():
            yield generator_pb2.GenerateResponse(
                preview=types_pb2.Preview(
                    webp=event.webp, width=event.width, height=event.height, frames=event.frames, step=event.step
                )
            )
        case Result():
            for start in range(0, len(event.file), CHUNK_BYTES):
                chunk = generator_pb2.GenerateChunk(data=event.file[start : start + CHUNK_BYTES])
                yield generator_pb2.GenerateResponse(chunk=chunk)
            yield generator_pb2.GenerateResponse(completed=_completed(event))


def cost_to_proto(cost: Cost) -> types_pb2.Estimate:
    """An estimate."""
    return types_pb2.Estimate(
        fits=cost.fits,
        needed_bytes=cost.needed_bytes,
        available_bytes=cost.available_bytes,
        duration=_duration(cost.prediction.seconds),
        stages=_stages(cost.prediction.stages),
    )


def row_to_proto(
    row: ModelRow, *, source: str, revision: str, loaded: bool, available: bool, is_default: bool
) -> generator_pb2.ModelInfo:
    """A row of the registry, and how it stands with it now."""
    return generator_pb2.ModelInfo(
        name=row.name,
        source=source,
        revision=revision,
        licence=row.licence,
        capabilities=[each.value for each in Capability if each in row.capabilities],
        default_width=row.width,
        default_height=row.height,
        default_frames=row.frames,
        default_fps=row.fps,
        max_frames=row.max_frames,
        size_multiple=row.size_multiple,
        default_steps=row.steps,
        default_guidance_scale=row.guidance_scale,
        loaded=loaded,
        available=available,
        is_default=is_default,
    )


def _progress(event: Progress) -> types_pb2.Progress:
    return types_pb2.Progress(
        stage=_stage(event.stage),
        fraction=event.fraction,
        step=event.step,
        total_steps=event.total_steps,
        eta=None if event.eta_seconds is None else _duration(event.eta_seconds),
        attempt=1,
    )


def _completed(result: Result) -> generator_pb2.GenerateCompleted:
    statistics = result.statistics
    return generator_pb2.GenerateCompleted(
        settings=settings_to_proto(result.settings),
        model_revision=result.model_revision,
        width=result.width,
        height=result.height,
        media_type=result.format.value,
        size_bytes=len(result.file),
        sha256=result.sha256,
        statistics=types_pb2.FrameStatistics(
            mean_luma=statistics.mean_luma,
            luma_deviation=statistics.luma_deviation,
            mean_frame_difference=statistics.mean_frame_difference,
        ),
        stages=_stages(result.stages),
        peak_memory_bytes=result.peak_memory_bytes,
    )


def _stages(stages: Iterable[StageSeconds]) -> list[types_pb2.StageDuration]:
    return [types_pb2.StageDuration(stage=_stage(each.stage), duration=_duration(each.seconds)) for each in stages]


def _stage(stage: Stage) -> types_pb2.Stage:
    return cast(types_pb2.Stage, types_pb2.Stage.Value(stage.value))


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration
