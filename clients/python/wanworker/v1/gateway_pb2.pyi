from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from wanworker.v1 import enhancer_pb2 as _enhancer_pb2
from wanworker.v1 import generator_pb2 as _generator_pb2
from wanworker.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class JobType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_TYPE_UNSPECIFIED: _ClassVar[JobType]
    JOB_TYPE_IMAGE_FAST: _ClassVar[JobType]
    JOB_TYPE_IMAGE_HIGH: _ClassVar[JobType]
    JOB_TYPE_VIDEO_FAST: _ClassVar[JobType]
    JOB_TYPE_VIDEO_HIGH: _ClassVar[JobType]

class Quality(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    QUALITY_UNSPECIFIED: _ClassVar[Quality]
    QUALITY_FAST: _ClassVar[Quality]
    QUALITY_BALANCED: _ClassVar[Quality]
    QUALITY_HIGH: _ClassVar[Quality]

class OnBadReference(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ON_BAD_REFERENCE_UNSPECIFIED: _ClassVar[OnBadReference]
    ON_BAD_REFERENCE_TEXT_TO_VIDEO: _ClassVar[OnBadReference]
    ON_BAD_REFERENCE_REJECT: _ClassVar[OnBadReference]

class DegradationPolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEGRADATION_POLICY_UNSPECIFIED: _ClassVar[DegradationPolicy]
    DEGRADATION_POLICY_ALLOWED: _ClassVar[DegradationPolicy]
    DEGRADATION_POLICY_SAME_OUTPUT_ONLY: _ClassVar[DegradationPolicy]
    DEGRADATION_POLICY_FORBIDDEN: _ClassVar[DegradationPolicy]

class JobState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_STATE_UNSPECIFIED: _ClassVar[JobState]
    JOB_STATE_QUEUED: _ClassVar[JobState]
    JOB_STATE_RUNNING: _ClassVar[JobState]
    JOB_STATE_SUCCEEDED: _ClassVar[JobState]
    JOB_STATE_FAILED: _ClassVar[JobState]
    JOB_STATE_CANCELLED: _ClassVar[JobState]
JOB_TYPE_UNSPECIFIED: JobType
JOB_TYPE_IMAGE_FAST: JobType
JOB_TYPE_IMAGE_HIGH: JobType
JOB_TYPE_VIDEO_FAST: JobType
JOB_TYPE_VIDEO_HIGH: JobType
QUALITY_UNSPECIFIED: Quality
QUALITY_FAST: Quality
QUALITY_BALANCED: Quality
QUALITY_HIGH: Quality
ON_BAD_REFERENCE_UNSPECIFIED: OnBadReference
ON_BAD_REFERENCE_TEXT_TO_VIDEO: OnBadReference
ON_BAD_REFERENCE_REJECT: OnBadReference
DEGRADATION_POLICY_UNSPECIFIED: DegradationPolicy
DEGRADATION_POLICY_ALLOWED: DegradationPolicy
DEGRADATION_POLICY_SAME_OUTPUT_ONLY: DegradationPolicy
DEGRADATION_POLICY_FORBIDDEN: DegradationPolicy
JOB_STATE_UNSPECIFIED: JobState
JOB_STATE_QUEUED: JobState
JOB_STATE_RUNNING: JobState
JOB_STATE_SUCCEEDED: JobState
JOB_STATE_FAILED: JobState
JOB_STATE_CANCELLED: JobState

class ReferenceImage(_message.Message):
    __slots__ = ("data", "url")
    DATA_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    url: str
    def __init__(self, data: _Optional[bytes] = ..., url: _Optional[str] = ...) -> None: ...

class JobSpec(_message.Message):
    __slots__ = ("prompt", "negative_prompt", "job_type", "quality", "width", "height", "duration", "fps", "steps", "guidance_scale", "seed", "model", "reference_image", "enhance", "on_bad_reference", "degradation", "request_id", "format")
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_PROMPT_FIELD_NUMBER: _ClassVar[int]
    JOB_TYPE_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    FPS_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_SCALE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_IMAGE_FIELD_NUMBER: _ClassVar[int]
    ENHANCE_FIELD_NUMBER: _ClassVar[int]
    ON_BAD_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    DEGRADATION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    prompt: str
    negative_prompt: str
    job_type: JobType
    quality: Quality
    width: int
    height: int
    duration: _duration_pb2.Duration
    fps: int
    steps: int
    guidance_scale: float
    seed: int
    model: str
    reference_image: ReferenceImage
    enhance: bool
    on_bad_reference: OnBadReference
    degradation: DegradationPolicy
    request_id: str
    format: _types_pb2.OutputFormat
    def __init__(self, prompt: _Optional[str] = ..., negative_prompt: _Optional[str] = ..., job_type: _Optional[_Union[JobType, str]] = ..., quality: _Optional[_Union[Quality, str]] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., duration: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., fps: _Optional[int] = ..., steps: _Optional[int] = ..., guidance_scale: _Optional[float] = ..., seed: _Optional[int] = ..., model: _Optional[str] = ..., reference_image: _Optional[_Union[ReferenceImage, _Mapping]] = ..., enhance: bool = ..., on_bad_reference: _Optional[_Union[OnBadReference, str]] = ..., degradation: _Optional[_Union[DegradationPolicy, str]] = ..., request_id: _Optional[str] = ..., format: _Optional[_Union[_types_pb2.OutputFormat, str]] = ...) -> None: ...

class Adjustment(_message.Message):
    __slots__ = ("field", "asked", "used", "reason")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    ASKED_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    field: str
    asked: str
    used: str
    reason: str
    def __init__(self, field: _Optional[str] = ..., asked: _Optional[str] = ..., used: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class Warning(_message.Message):
    __slots__ = ("reason", "message", "time")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    reason: str
    message: str
    time: _timestamp_pb2.Timestamp
    def __init__(self, reason: _Optional[str] = ..., message: _Optional[str] = ..., time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Degradation(_message.Message):
    __slots__ = ("rung", "to", "attempt", "time")
    RUNG_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    rung: str
    to: _types_pb2.GenerationSettings
    attempt: int
    time: _timestamp_pb2.Timestamp
    def __init__(self, rung: _Optional[str] = ..., to: _Optional[_Union[_types_pb2.GenerationSettings, _Mapping]] = ..., attempt: _Optional[int] = ..., time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., **kwargs) -> None: ...

class JobFailure(_message.Message):
    __slots__ = ("code", "reason", "message", "metadata")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    code: str
    reason: str
    message: str
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, code: _Optional[str] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Delivered(_message.Message):
    __slots__ = ("settings", "model_revision", "width", "height", "frames", "fps", "duration", "seed", "prompt", "enhanced", "enhancer_model", "reference_image_used", "statistics")
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    MODEL_REVISION_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    FPS_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    ENHANCED_FIELD_NUMBER: _ClassVar[int]
    ENHANCER_MODEL_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_IMAGE_USED_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_FIELD_NUMBER: _ClassVar[int]
    settings: _types_pb2.GenerationSettings
    model_revision: str
    width: int
    height: int
    frames: int
    fps: int
    duration: _duration_pb2.Duration
    seed: int
    prompt: str
    enhanced: bool
    enhancer_model: str
    reference_image_used: bool
    statistics: _types_pb2.FrameStatistics
    def __init__(self, settings: _Optional[_Union[_types_pb2.GenerationSettings, _Mapping]] = ..., model_revision: _Optional[str] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., frames: _Optional[int] = ..., fps: _Optional[int] = ..., duration: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., seed: _Optional[int] = ..., prompt: _Optional[str] = ..., enhanced: bool = ..., enhancer_model: _Optional[str] = ..., reference_image_used: bool = ..., statistics: _Optional[_Union[_types_pb2.FrameStatistics, _Mapping]] = ...) -> None: ...

class Artifact(_message.Message):
    __slots__ = ("media_type", "size_bytes", "sha256", "file_name")
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    FILE_NAME_FIELD_NUMBER: _ClassVar[int]
    media_type: str
    size_bytes: int
    sha256: bytes
    file_name: str
    def __init__(self, media_type: _Optional[str] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[bytes] = ..., file_name: _Optional[str] = ...) -> None: ...

class Job(_message.Message):
    __slots__ = ("id", "spec", "state", "progress", "resolved", "adjustments", "warnings", "degradations", "enhanced_prompt", "delivered", "artifact", "failure", "stages", "attempts", "create_time", "start_time", "finish_time", "trace_id", "sequence")
    ID_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RESOLVED_FIELD_NUMBER: _ClassVar[int]
    ADJUSTMENTS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    DEGRADATIONS_FIELD_NUMBER: _ClassVar[int]
    ENHANCED_PROMPT_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    FINISH_TIME_FIELD_NUMBER: _ClassVar[int]
    TRACE_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    id: str
    spec: JobSpec
    state: JobState
    progress: _types_pb2.Progress
    resolved: _types_pb2.GenerationSettings
    adjustments: _containers.RepeatedCompositeFieldContainer[Adjustment]
    warnings: _containers.RepeatedCompositeFieldContainer[Warning]
    degradations: _containers.RepeatedCompositeFieldContainer[Degradation]
    enhanced_prompt: str
    delivered: Delivered
    artifact: Artifact
    failure: JobFailure
    stages: _containers.RepeatedCompositeFieldContainer[_types_pb2.StageDuration]
    attempts: int
    create_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    finish_time: _timestamp_pb2.Timestamp
    trace_id: str
    sequence: int
    def __init__(self, id: _Optional[str] = ..., spec: _Optional[_Union[JobSpec, _Mapping]] = ..., state: _Optional[_Union[JobState, str]] = ..., progress: _Optional[_Union[_types_pb2.Progress, _Mapping]] = ..., resolved: _Optional[_Union[_types_pb2.GenerationSettings, _Mapping]] = ..., adjustments: _Optional[_Iterable[_Union[Adjustment, _Mapping]]] = ..., warnings: _Optional[_Iterable[_Union[Warning, _Mapping]]] = ..., degradations: _Optional[_Iterable[_Union[Degradation, _Mapping]]] = ..., enhanced_prompt: _Optional[str] = ..., delivered: _Optional[_Union[Delivered, _Mapping]] = ..., artifact: _Optional[_Union[Artifact, _Mapping]] = ..., failure: _Optional[_Union[JobFailure, _Mapping]] = ..., stages: _Optional[_Iterable[_Union[_types_pb2.StageDuration, _Mapping]]] = ..., attempts: _Optional[int] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., finish_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., trace_id: _Optional[str] = ..., sequence: _Optional[int] = ...) -> None: ...

class PromptDelta(_message.Message):
    __slots__ = ("text",)
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: str
    def __init__(self, text: _Optional[str] = ...) -> None: ...

class PromptEnhanced(_message.Message):
    __slots__ = ("prompt", "model")
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    prompt: str
    model: str
    def __init__(self, prompt: _Optional[str] = ..., model: _Optional[str] = ...) -> None: ...

class JobEvent(_message.Message):
    __slots__ = ("sequence", "time", "snapshot", "progress", "prompt_delta", "prompt_enhanced", "warning", "degradation", "preview")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_DELTA_FIELD_NUMBER: _ClassVar[int]
    PROMPT_ENHANCED_FIELD_NUMBER: _ClassVar[int]
    WARNING_FIELD_NUMBER: _ClassVar[int]
    DEGRADATION_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    time: _timestamp_pb2.Timestamp
    snapshot: Job
    progress: _types_pb2.Progress
    prompt_delta: PromptDelta
    prompt_enhanced: PromptEnhanced
    warning: Warning
    degradation: Degradation
    preview: _types_pb2.Preview
    def __init__(self, sequence: _Optional[int] = ..., time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., snapshot: _Optional[_Union[Job, _Mapping]] = ..., progress: _Optional[_Union[_types_pb2.Progress, _Mapping]] = ..., prompt_delta: _Optional[_Union[PromptDelta, _Mapping]] = ..., prompt_enhanced: _Optional[_Union[PromptEnhanced, _Mapping]] = ..., warning: _Optional[_Union[Warning, _Mapping]] = ..., degradation: _Optional[_Union[Degradation, _Mapping]] = ..., preview: _Optional[_Union[_types_pb2.Preview, _Mapping]] = ...) -> None: ...

class CreateJobRequest(_message.Message):
    __slots__ = ("spec",)
    SPEC_FIELD_NUMBER: _ClassVar[int]
    spec: JobSpec
    def __init__(self, spec: _Optional[_Union[JobSpec, _Mapping]] = ...) -> None: ...

class CreateJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class GetJobRequest(_message.Message):
    __slots__ = ("job_id",)
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    def __init__(self, job_id: _Optional[str] = ...) -> None: ...

class GetJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class ListJobsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "states")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    states: _containers.RepeatedScalarFieldContainer[JobState]
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., states: _Optional[_Iterable[_Union[JobState, str]]] = ...) -> None: ...

class ListJobsResponse(_message.Message):
    __slots__ = ("jobs", "next_page_token")
    JOBS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[Job]
    next_page_token: str
    def __init__(self, jobs: _Optional[_Iterable[_Union[Job, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CancelJobRequest(_message.Message):
    __slots__ = ("job_id",)
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    def __init__(self, job_id: _Optional[str] = ...) -> None: ...

class CancelJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class WatchJobRequest(_message.Message):
    __slots__ = ("job_id", "after_sequence")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    after_sequence: int
    def __init__(self, job_id: _Optional[str] = ..., after_sequence: _Optional[int] = ...) -> None: ...

class WatchJobResponse(_message.Message):
    __slots__ = ("event",)
    EVENT_FIELD_NUMBER: _ClassVar[int]
    event: JobEvent
    def __init__(self, event: _Optional[_Union[JobEvent, _Mapping]] = ...) -> None: ...

class ReadArtifactRequest(_message.Message):
    __slots__ = ("job_id", "offset", "limit")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    offset: int
    limit: int
    def __init__(self, job_id: _Optional[str] = ..., offset: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class ReadArtifactResponse(_message.Message):
    __slots__ = ("artifact", "offset", "data")
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    artifact: Artifact
    offset: int
    data: bytes
    def __init__(self, artifact: _Optional[_Union[Artifact, _Mapping]] = ..., offset: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class RunJobRequest(_message.Message):
    __slots__ = ("spec",)
    SPEC_FIELD_NUMBER: _ClassVar[int]
    spec: JobSpec
    def __init__(self, spec: _Optional[_Union[JobSpec, _Mapping]] = ...) -> None: ...

class RunJobResponse(_message.Message):
    __slots__ = ("event",)
    EVENT_FIELD_NUMBER: _ClassVar[int]
    event: JobEvent
    def __init__(self, event: _Optional[_Union[JobEvent, _Mapping]] = ...) -> None: ...

class EstimateJobRequest(_message.Message):
    __slots__ = ("spec",)
    SPEC_FIELD_NUMBER: _ClassVar[int]
    spec: JobSpec
    def __init__(self, spec: _Optional[_Union[JobSpec, _Mapping]] = ...) -> None: ...

class EstimateJobResponse(_message.Message):
    __slots__ = ("settings", "adjustments", "estimate", "queue_wait")
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    ADJUSTMENTS_FIELD_NUMBER: _ClassVar[int]
    ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    QUEUE_WAIT_FIELD_NUMBER: _ClassVar[int]
    settings: _types_pb2.GenerationSettings
    adjustments: _containers.RepeatedCompositeFieldContainer[Adjustment]
    estimate: _types_pb2.Estimate
    queue_wait: _duration_pb2.Duration
    def __init__(self, settings: _Optional[_Union[_types_pb2.GenerationSettings, _Mapping]] = ..., adjustments: _Optional[_Iterable[_Union[Adjustment, _Mapping]]] = ..., estimate: _Optional[_Union[_types_pb2.Estimate, _Mapping]] = ..., queue_wait: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class GatewayServiceGetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PeerStatus(_message.Message):
    __slots__ = ("address", "reachable", "error")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    REACHABLE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    address: str
    reachable: bool
    error: str
    def __init__(self, address: _Optional[str] = ..., reachable: bool = ..., error: _Optional[str] = ...) -> None: ...

class GatewayServiceGetStatusResponse(_message.Message):
    __slots__ = ("version", "running", "queued", "max_concurrent_jobs", "queue_limit", "enhancer_peer", "enhancer", "generator_peer", "generator")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    QUEUED_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENT_JOBS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_LIMIT_FIELD_NUMBER: _ClassVar[int]
    ENHANCER_PEER_FIELD_NUMBER: _ClassVar[int]
    ENHANCER_FIELD_NUMBER: _ClassVar[int]
    GENERATOR_PEER_FIELD_NUMBER: _ClassVar[int]
    GENERATOR_FIELD_NUMBER: _ClassVar[int]
    version: str
    running: int
    queued: int
    max_concurrent_jobs: int
    queue_limit: int
    enhancer_peer: PeerStatus
    enhancer: _enhancer_pb2.EnhancerServiceGetStatusResponse
    generator_peer: PeerStatus
    generator: _generator_pb2.GeneratorServiceGetStatusResponse
    def __init__(self, version: _Optional[str] = ..., running: _Optional[int] = ..., queued: _Optional[int] = ..., max_concurrent_jobs: _Optional[int] = ..., queue_limit: _Optional[int] = ..., enhancer_peer: _Optional[_Union[PeerStatus, _Mapping]] = ..., enhancer: _Optional[_Union[_enhancer_pb2.EnhancerServiceGetStatusResponse, _Mapping]] = ..., generator_peer: _Optional[_Union[PeerStatus, _Mapping]] = ..., generator: _Optional[_Union[_generator_pb2.GeneratorServiceGetStatusResponse, _Mapping]] = ...) -> None: ...
