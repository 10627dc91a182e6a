"""Protobuf of the gateway's own contract to dataclasses and back. Nothing is decided here."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from wanworker.gateway.asked import (
    DegradationPolicy,
    JobSpec,
    JobType,
    OnBadReference,
    OutputFormat,
    Quality,
    ReferenceImage,
)
from wanworker.gateway.convert_peer import (
    duration,
    number,
    seconds,
    settings_to_proto,
    stage_to_proto,
    statistics_to_proto,
)
from wanworker.gateway.model import (
    Adjustment,
    Artifact,
    Degradation,
    Delivered,
    Job,
    JobEvent,
    JobFailure,
    Preview,
    Progress,
    PromptDelta,
    PromptEnhanced,
    Snapshot,
    Warning,
)
from wanworker.v1 import gateway_pb2 as pb
from wanworker.v1 import types_pb2


def timestamp(moment: datetime) -> Timestamp:
    """A moment as protobuf has it."""
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def spec_from_proto(message: pb.JobSpec) -> JobSpec:
    """What a caller asks for."""
    return JobSpec(
        prompt=message.prompt,
        negative_prompt=message.negative_prompt,
        job_type=JobType(message.job_type),
        quality=Quality(message.quality),
        width=message.width if message.HasField("width") else None,
        height=message.height if message.HasField("height") else None,
        duration=seconds(message.duration) if message.HasField("duration") else None,
        fps=message.fps if message.HasField("fps") else None,
        steps=message.steps if message.HasField("steps") else None,
        guidance_scale=message.guidance_scale if message.HasField("guidance_scale") else None,
        seed=message.seed if message.HasField("seed") else None,
        model=message.model,
        reference=_reference_from_proto(message),
        enhance=message.enhance if message.HasField("enhance") else None,
        on_bad_reference=OnBadReference(message.on_bad_reference),
        degradation=DegradationPolicy(message.degradation),
        request_id=message.request_id,
        format=OutputFormat(message.format),
    )


def spec_to_proto(spec: JobSpec) -> pb.JobSpec:
    """What was asked, as it was asked."""
    message = pb.JobSpec(
        prompt=spec.prompt,
        negative_prompt=spec.negative_prompt,
        job_type=number(spec.job_type),
        quality=number(spec.quality),
        width=spec.width,
        height=spec.height,
        duration=None if spec.duration is None else duration(spec.duration),
        fps=spec.fps,
        steps=spec.steps,
        guidance_scale=spec.guidance_scale,
        seed=spec.seed,
        model=spec.model,
        reference_image=_reference_to_proto(spec.reference),
        on_bad_reference=number(spec.on_bad_reference),
        degradation=number(spec.degradation),
        request_id=spec.request_id,
        format=number(spec.format),
    )
    if spec.enhance is not None:
        message.enhance = spec.enhance
    return message


def job_to_proto(job: Job) -> pb.Job:
    """A job as clients see it."""
    return pb.Job(
        id=job.id,
        spec=spec_to_proto(job.spec),
        state=number(job.state),
        progress=progress_to_proto(job.progress),
        resolved=settings_to_proto(job.resolved) if job.resolved else None,
        adjustments=[adjustment_to_proto(row) for row in job.adjustments],
        warnings=[warning_to_proto(row) for row in job.warnings],
        degradations=[degradation_to_proto(row) for row in job.degradations],
        enhanced_prompt=job.enhanced_prompt,
        delivered=_delivered_to_proto(job.delivered) if job.delivered else None,
        artifact=artifact_to_proto(job.artifact) if job.artifact else None,
        failure=_failure_to_proto(job.failure) if job.failure else None,
        stages=[stage_to_proto(row) for row in job.stages],
        attempts=job.attempts,
        create_time=timestamp(job.create_time),
        start_time=timestamp(job.start_time) if job.start_time else None,
        finish_time=timestamp(job.finish_time) if job.finish_time else None,
        trace_id=job.trace_id,
        sequence=job.sequence,
    )


def event_to_proto(event: JobEvent) -> pb.JobEvent:
    """An event as clients see it."""
    message = pb.JobEvent(sequence=event.sequence, time=timestamp(event.time))
    match event.body:
        case Snapshot(job):
            message.snapshot.CopyFrom(job_to_proto(job))
        case Progress() as progress:
            message.progress.CopyFrom(progress_to_proto(progress))
        case PromptDelta(text):
            message.prompt_delta.text = text
        case PromptEnhanced(prompt, model):
            message.prompt_enhanced.CopyFrom(pb.PromptEnhanced(prompt=prompt, model=model))
        case Warning() as warning:
            message.warning.CopyFrom(warning_to_proto(warning))
        case Degradation() as degradation:
            message.degradation.CopyFrom(degradation_to_proto(degradation))
        case Preview() as preview:
            message.preview.CopyFrom(_preview_to_proto(preview))
    return message


def progress_to_proto(progress: Progress) -> types_pb2.Progress:
    """How far a job is."""
    return types_pb2.Progress(
        stage=number(progress.stage),
        fraction=progress.fraction,
        step=progress.step,
        total_steps=progress.total_steps,
        eta=None if progress.eta is None else duration(max(0.0, progress.eta)),
        queue_position=progress.queue_position,
        attempt=progress.attempt,
    )


def adjustment_to_proto(row: Adjustment) -> pb.Adjustment:
    """A value that was rounded."""
    return pb.Adjustment(field=row.field, asked=row.asked, used=row.used, reason=row.reason)


def warning_to_proto(row: Warning) -> pb.Warning:
    """Something to know."""
    return pb.Warning(reason=row.reason, message=row.message, time=timestamp(row.time))


def degradation_to_proto(row: Degradation) -> pb.Degradation:
    """A rung that was taken."""
    message = pb.Degradation(
        rung=row.rung, to=settings_to_proto(row.after), attempt=row.attempt, time=timestamp(row.time)
    )
    # `from` is a keyword of Python.
    getattr(message, "from").CopyFrom(settings_to_proto(row.before))
    return message


def artifact_to_proto(row: Artifact) -> pb.Artifact:
    """A stored file."""
    return pb.Artifact(media_type=row.media_type, size_bytes=row.size_bytes, sha256=row.sha256, file_name=row.file_name)


def _reference_from_proto(message: pb.JobSpec) -> ReferenceImage | None:
    if not message.HasField("reference_image"):
        return None
    return ReferenceImage(data=message.reference_image.data, url=message.reference_image.url)


def _reference_to_proto(reference: ReferenceImage | None) -> pb.ReferenceImage | None:
    if reference is None or not (reference.data or reference.url):
        # The bytes were left out, as lists and events do.
        return None
    if reference.url:
        return pb.ReferenceImage(url=reference.url)
    return pb.ReferenceImage(data=reference.data)


def _delivered_to_proto(delivered: Delivered) -> pb.Delivered:
    settings = delivered.settings
    still = settings.frames == 1
    return pb.Delivered(
        settings=settings_to_proto(settings),
        model_revision=delivered.model_revision,
        width=delivered.width,
        height=delivered.height,
        frames=settings.frames,
        fps=0 if still else settings.fps,
        duration=None if still else duration(settings.frames / settings.fps),
        seed=delivered.seed,
        prompt=delivered.prompt,
        enhanced=delivered.enhanced,
        enhancer_model=delivered.enhancer_model,
        reference_image_used=delivered.reference_image_used,
        statistics=statistics_to_proto(delivered.statistics),
    )


def _failure_to_proto(failure: JobFailure) -> pb.JobFailure:
    return pb.JobFailure(
        code=failure.code, reason=failure.reason, message=failure.message, metadata=dict(failure.metadata)
    )


def _preview_to_proto(preview: Preview) -> types_pb2.Preview:
    return types_pb2.Preview(
        webp=preview.webp,
        width=preview.width,
        height=preview.height,
        frames=preview.frames,
        step=preview.step,
    )
