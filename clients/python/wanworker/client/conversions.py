"""Between protobuf messages and the client's types: the one place that knows both."""

from datetime import UTC, datetime
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from wanworker.client import events, peers, types
from wanworker.client.enums import (
    Choice,
    DegradationPolicy,
    FinishReason,
    JobState,
    JobType,
    ModelCapability,
    OnBadReference,
    OutputFormat,
    Quality,
    Stage,
)
from wanworker.v1 import enhancer_pb2, gateway_pb2, generator_pb2, types_pb2

ChoiceT = TypeVar("ChoiceT", bound=Choice)

_PREFIXES: dict[type[Choice], str] = {
    JobType: "JOB_TYPE_",
    Quality: "QUALITY_",
    OnBadReference: "ON_BAD_REFERENCE_",
    DegradationPolicy: "DEGRADATION_POLICY_",
    OutputFormat: "OUTPUT_FORMAT_",
    Stage: "STAGE_",
    JobState: "JOB_STATE_",
    ModelCapability: "MODEL_CAPABILITY_",
    FinishReason: "FINISH_REASON_",
}
_NUMBERS: dict[Choice, int] = {
    member: getattr(module, prefix + member.name)
    for kind, prefix in _PREFIXES.items()
    for member in kind
    for module in (types_pb2, gateway_pb2, generator_pb2, enhancer_pb2)
    if hasattr(module, prefix + member.name)
}
_MEMBERS: dict[type[Choice], dict[int, Choice]] = {
    kind: {_NUMBERS[member]: member for member in kind} for kind in _PREFIXES
}


def _number(member: Choice | None) -> int:
    return 0 if member is None else _NUMBERS[member]


def _member(kind: type[ChoiceT], number: int) -> ChoiceT:
    """The member; UNSPECIFIED for numbers of a newer service."""
    found = _MEMBERS[kind].get(number, _MEMBERS[kind].get(0))
    assert isinstance(found, kind)
    return found


def _optional_member(kind: type[ChoiceT], number: int) -> ChoiceT | None:
    return _member(kind, number) if number in _MEMBERS[kind] else None


def _seconds(value: Duration) -> float:
    return value.seconds + value.nanos / 1e9


def _duration(seconds: float) -> Duration:
    whole = Duration()
    whole.FromNanoseconds(round(seconds * 1e9))
    return whole


def _time(value: Timestamp) -> datetime | None:
    return value.ToDatetime(tzinfo=UTC) if value.seconds or value.nanos else None


def spec_to_proto(spec: types.JobSpec) -> gateway_pb2.JobSpec:
    """Returns the message of a spec. ValueError if a number does not fit its field."""
    message = gateway_pb2.JobSpec(
        prompt=spec.prompt,
        negative_prompt=spec.negative_prompt,
        job_type=_number(spec.job_type),  # type: ignore[arg-type]  # enums travel as plain numbers
        quality=_number(spec.quality),  # type: ignore[arg-type]
        fps=spec.fps,
        steps=spec.steps,
        guidance_scale=spec.guidance_scale,
        seed=spec.seed,
        model=spec.model,
        on_bad_reference=_number(spec.on_bad_reference),  # type: ignore[arg-type]
        degradation=_number(spec.degradation),  # type: ignore[arg-type]
        request_id=spec.request_id,
        format=_number(spec.format),  # type: ignore[arg-type]
    )
    if spec.enhance is not None:
        message.enhance = spec.enhance
    if spec.size is not None:
        message.width, message.height = spec.size
    if spec.duration is not None:
        message.duration.CopyFrom(_duration(spec.duration))
    if isinstance(spec.reference_image, bytes):
        message.reference_image.data = spec.reference_image
    elif spec.reference_image is not None:
        message.reference_image.url = spec.reference_image
    return message


def states_to_proto(states: tuple[JobState, ...]) -> list[int]:
    """Returns the numbers of job states."""
    return [_number(state) for state in states]


def spec_from_proto(message: gateway_pb2.JobSpec) -> types.JobSpec:
    """Reads a spec. Zero is not None: only what was left out is None."""
    return types.JobSpec(
        prompt=message.prompt,
        negative_prompt=message.negative_prompt,
        job_type=_optional_member(JobType, message.job_type),
        quality=_optional_member(Quality, message.quality),
        size=(message.width, message.height) if message.HasField("width") else None,
        duration=_seconds(message.duration) if message.HasField("duration") else None,
        fps=message.fps if message.HasField("fps") else None,
        steps=message.steps if message.HasField("steps") else None,
        guidance_scale=message.guidance_scale if message.HasField("guidance_scale") else None,
        seed=message.seed if message.HasField("seed") else None,
        model=message.model,
        reference_image=_image(message.reference_image),
        enhance=message.enhance if message.HasField("enhance") else None,
        on_bad_reference=_optional_member(OnBadReference, message.on_bad_reference),
        degradation=_optional_member(DegradationPolicy, message.degradation),
        request_id=message.request_id,
        format=_optional_member(OutputFormat, message.format),
    )


def _image(message: gateway_pb2.ReferenceImage) -> bytes | str | None:
    source = message.WhichOneof("source")
    if source is None:
        return None
    return message.data if source == "data" else message.url


def _settings(message: types_pb2.GenerationSettings) -> types.GenerationSettings:
    return types.GenerationSettings(
        model=message.model,
        width=message.width,
        height=message.height,
        frames=message.frames,
        fps=message.fps,
        steps=message.steps,
        guidance_scale=message.guidance_scale,
        flow_shift=message.flow_shift if message.HasField("flow_shift") else None,
        memory=types.MemoryOptions(
            tiled_decode=message.memory.tiled_decode,
            evict_text_encoder=message.memory.evict_text_encoder,
            free_caches=message.memory.free_caches,
        ),
    )


def _progress(message: types_pb2.Progress) -> types.Progress:
    return types.Progress(
        stage=_member(Stage, message.stage),
        fraction=message.fraction,
        step=message.step,
        total_steps=message.total_steps,
        eta=_seconds(message.eta) if message.HasField("eta") else None,
        queue_position=message.queue_position if message.HasField("queue_position") else None,
        attempt=message.attempt,
    )


def _stage(message: types_pb2.StageDuration) -> types.StageDuration:
    return types.StageDuration(_member(Stage, message.stage), _seconds(message.duration))


def _adjustment(message: gateway_pb2.Adjustment) -> types.Adjustment:
    return types.Adjustment(message.field, message.asked, message.used, message.reason)


def _warning(message: gateway_pb2.Warning) -> types.JobWarning:
    return types.JobWarning(message.reason, message.message, _time(message.time))


def _degradation(message: gateway_pb2.Degradation) -> types.Degradation:
    return types.Degradation(
        rung=message.rung,
        before=_settings(getattr(message, "from")),
        after=_settings(message.to),
        attempt=message.attempt,
        time=_time(message.time),
    )


def _failure(message: gateway_pb2.JobFailure) -> types.JobFailure:
    return types.JobFailure(message.code, message.reason, message.message, dict(message.metadata))


def _delivered(message: gateway_pb2.Delivered) -> types.Delivered:
    return types.Delivered(
        settings=_settings(message.settings),
        model_revision=message.model_revision,
        width=message.width,
        height=message.height,
        frames=message.frames,
        fps=message.fps,
        duration=_seconds(message.duration) if message.HasField("duration") else None,
        seed=message.seed,
        prompt=message.prompt,
        enhanced=message.enhanced,
        enhancer_model=message.enhancer_model,
        reference_image_used=message.reference_image_used,
        statistics=types.FrameStatistics(
            message.statistics.mean_luma,
            message.statistics.luma_deviation,
            message.statistics.mean_frame_difference,
        ),
    )


def artifact_from_proto(message: gateway_pb2.Artifact) -> types.Artifact:
    """Reads what a file is."""
    return types.Artifact(message.media_type, message.size_bytes, message.sha256, message.file_name)


def job_from_proto(message: gateway_pb2.Job) -> types.Job:
    """Reads a job."""
    return types.Job(
        id=message.id,
        spec=spec_from_proto(message.spec),
        state=_member(JobState, message.state),
        progress=_progress(message.progress),
        resolved=_settings(message.resolved) if message.HasField("resolved") else None,
        adjustments=tuple(map(_adjustment, message.adjustments)),
        warnings=tuple(map(_warning, message.warnings)),
        degradations=tuple(map(_degradation, message.degradations)),
        enhanced_prompt=message.enhanced_prompt,
        delivered=_delivered(message.delivered) if message.HasField("delivered") else None,
        artifact=artifact_from_proto(message.artifact) if message.HasField("artifact") else None,
        failure=_failure(message.failure) if message.HasField("failure") else None,
        stages=tuple(map(_stage, message.stages)),
        attempts=message.attempts,
        create_time=_time(message.create_time),
        start_time=_time(message.start_time),
        finish_time=_time(message.finish_time),
        trace_id=message.trace_id,
        sequence=message.sequence,
        raw=message,
    )


def event_from_proto(message: gateway_pb2.JobEvent) -> events.JobEvent | None:
    """Reads an event; None for a kind that this client does not know."""
    sequence, time, raw = message.sequence, _time(message.time), message
    match message.WhichOneof("event"):
        case "snapshot":
            job = job_from_proto(message.snapshot)
            return events.SnapshotEvent(sequence=sequence, time=time, raw=raw, job=job)
        case "progress":
            progress = _progress(message.progress)
            return events.ProgressEvent(sequence=sequence, time=time, raw=raw, progress=progress)
        case "prompt_delta":
            return events.PromptDeltaEvent(sequence=sequence, time=time, raw=raw, text=message.prompt_delta.text)
        case "prompt_enhanced":
            done = message.prompt_enhanced
            return events.PromptEnhancedEvent(
                sequence=sequence, time=time, raw=raw, prompt=done.prompt, model=done.model
            )
        case "warning":
            warning = _warning(message.warning)
            return events.WarningEvent(sequence=sequence, time=time, raw=raw, warning=warning)
        case "degradation":
            degradation = _degradation(message.degradation)
            return events.DegradationEvent(sequence=sequence, time=time, raw=raw, degradation=degradation)
        case "preview":
            strip = message.preview
            picture = {
                "width": strip.width,
                "height": strip.height,
                "frames": strip.frames,
                "step": strip.step,
            }
            return events.PreviewEvent(sequence=sequence, time=time, raw=raw, webp=strip.webp, **picture)
    return None


def enhance_event_from_proto(message: enhancer_pb2.EnhanceResponse) -> events.EnhanceEvent | None:
    """Reads an event of the enhancer; None for a kind that this client does not know."""
    match message.WhichOneof("event"):
        case "queued":
            return events.EnhanceQueued(message.queued.position, raw=message)
        case "loading":
            return events.EnhanceLoading(message.loading.model, raw=message)
        case "delta":
            return events.EnhanceDelta(message.delta.text, raw=message)
        case "completed":
            done = message.completed
            return events.EnhanceCompleted(
                raw=message,
                prompt=done.prompt,
                model=done.model,
                seed=done.seed,
                cached=done.cached,
                prompt_tokens=done.prompt_tokens,
                completion_tokens=done.completion_tokens,
                finish_reason=_member(FinishReason, done.finish_reason),
                time_to_first_token=_seconds(done.time_to_first_token),
                duration=_seconds(done.duration),
            )
    return None


def estimate_from_proto(message: gateway_pb2.EstimateJobResponse) -> types.JobEstimate:
    """Reads what a job would cost."""
    return types.JobEstimate(
        settings=_settings(message.settings),
        adjustments=tuple(map(_adjustment, message.adjustments)),
        fits=message.estimate.fits,
        needed_bytes=message.estimate.needed_bytes,
        available_bytes=message.estimate.available_bytes,
        duration=_seconds(message.estimate.duration),
        stages=tuple(map(_stage, message.estimate.stages)),
        queue_wait=_seconds(message.queue_wait) if message.HasField("queue_wait") else None,
        raw=message,
    )


def enhancer_status_from_proto(
    message: enhancer_pb2.EnhancerServiceGetStatusResponse,
) -> peers.EnhancerStatus:
    """Reads how an enhancer is."""
    return peers.EnhancerStatus(
        version=message.version,
        model=message.model,
        model_source=message.model_source,
        loaded=message.loaded,
        context_tokens=message.context_tokens,
        queued=message.queued,
        queue_limit=message.queue_limit,
        busy=message.busy,
    )


def generator_status_from_proto(
    message: generator_pb2.GeneratorServiceGetStatusResponse,
) -> peers.GeneratorStatus:
    """Reads how a generator is."""
    return peers.GeneratorStatus(
        version=message.version,
        device=message.device,
        total_memory_bytes=message.total_memory_bytes,
        free_memory_bytes=message.free_memory_bytes,
        running=message.running,
        queued=message.queued,
        queue_limit=message.queue_limit,
        models=tuple(map(_model, message.models)),
    )


def _model(message: generator_pb2.ModelInfo) -> peers.ModelInfo:
    return peers.ModelInfo(
        name=message.name,
        source=message.source,
        revision=message.revision,
        licence=message.licence,
        capabilities=tuple(_member(ModelCapability, number) for number in message.capabilities),
        default_size=(message.default_width, message.default_height),
        default_frames=message.default_frames,
        default_fps=message.default_fps,
        max_frames=message.max_frames,
        loaded=message.loaded,
        available=message.available,
        is_default=message.is_default,
    )


def _peer(message: gateway_pb2.PeerStatus) -> peers.Peer:
    return peers.Peer(message.address, message.reachable, message.error)


def status_from_proto(message: gateway_pb2.GatewayServiceGetStatusResponse) -> peers.GatewayStatus:
    """Reads how a gateway is."""
    enhancer, generator = message.HasField("enhancer"), message.HasField("generator")
    return peers.GatewayStatus(
        version=message.version,
        running=message.running,
        queued=message.queued,
        max_concurrent_jobs=message.max_concurrent_jobs,
        queue_limit=message.queue_limit,
        enhancer_peer=_peer(message.enhancer_peer),
        enhancer=enhancer_status_from_proto(message.enhancer) if enhancer else None,
        generator_peer=_peer(message.generator_peer),
        generator=generator_status_from_proto(message.generator) if generator else None,
        raw=message,
    )
