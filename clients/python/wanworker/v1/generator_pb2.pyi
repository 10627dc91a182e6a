from wanworker.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ModelCapability(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODEL_CAPABILITY_UNSPECIFIED: _ClassVar[ModelCapability]
    MODEL_CAPABILITY_TEXT_TO_VIDEO: _ClassVar[ModelCapability]
    MODEL_CAPABILITY_TEXT_TO_IMAGE: _ClassVar[ModelCapability]
    MODEL_CAPABILITY_IMAGE_TO_VIDEO: _ClassVar[ModelCapability]
    MODEL_CAPABILITY_LAST_FRAME: _ClassVar[ModelCapability]
    MODEL_CAPABILITY_SUBJECT_IMAGES: _ClassVar[ModelCapability]
    MODEL_CAPABILITY_EXTEND_CLIP: _ClassVar[ModelCapability]
MODEL_CAPABILITY_UNSPECIFIED: ModelCapability
MODEL_CAPABILITY_TEXT_TO_VIDEO: ModelCapability
MODEL_CAPABILITY_TEXT_TO_IMAGE: ModelCapability
MODEL_CAPABILITY_IMAGE_TO_VIDEO: ModelCapability
MODEL_CAPABILITY_LAST_FRAME: ModelCapability
MODEL_CAPABILITY_SUBJECT_IMAGES: ModelCapability
MODEL_CAPABILITY_EXTEND_CLIP: ModelCapability

class GenerateRequest(_message.Message):
    __slots__ = ("settings", "prompt", "negative_prompt", "seed", "reference_image", "format", "crop_width", "crop_height", "preview_interval_steps", "last_frame", "subject_images", "extended_clip")
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_PROMPT_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_IMAGE_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    CROP_WIDTH_FIELD_NUMBER: _ClassVar[int]
    CROP_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_INTERVAL_STEPS_FIELD_NUMBER: _ClassVar[int]
    LAST_FRAME_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_IMAGES_FIELD_NUMBER: _ClassVar[int]
    EXTENDED_CLIP_FIELD_NUMBER: _ClassVar[int]
    settings: _types_pb2.GenerationSettings
    prompt: str
    negative_prompt: str
    seed: int
    reference_image: bytes
    format: _types_pb2.OutputFormat
    crop_width: int
    crop_height: int
    preview_interval_steps: int
    last_frame: bytes
    subject_images: _containers.RepeatedScalarFieldContainer[bytes]
    extended_clip: bytes
    def __init__(self, settings: _Optional[_Union[_types_pb2.GenerationSettings, _Mapping]] = ..., prompt: _Optional[str] = ..., negative_prompt: _Optional[str] = ..., seed: _Optional[int] = ..., reference_image: _Optional[bytes] = ..., format: _Optional[_Union[_types_pb2.OutputFormat, str]] = ..., crop_width: _Optional[int] = ..., crop_height: _Optional[int] = ..., preview_interval_steps: _Optional[int] = ..., last_frame: _Optional[bytes] = ..., subject_images: _Optional[_Iterable[bytes]] = ..., extended_clip: _Optional[bytes] = ...) -> None: ...

class GenerateResponse(_message.Message):
    __slots__ = ("queued", "progress", "preview", "chunk", "completed")
    QUEUED_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    queued: GenerateQueued
    progress: _types_pb2.Progress
    preview: _types_pb2.Preview
    chunk: GenerateChunk
    completed: GenerateCompleted
    def __init__(self, queued: _Optional[_Union[GenerateQueued, _Mapping]] = ..., progress: _Optional[_Union[_types_pb2.Progress, _Mapping]] = ..., preview: _Optional[_Union[_types_pb2.Preview, _Mapping]] = ..., chunk: _Optional[_Union[GenerateChunk, _Mapping]] = ..., completed: _Optional[_Union[GenerateCompleted, _Mapping]] = ...) -> None: ...

class GenerateQueued(_message.Message):
    __slots__ = ("position",)
    POSITION_FIELD_NUMBER: _ClassVar[int]
    position: int
    def __init__(self, position: _Optional[int] = ...) -> None: ...

class GenerateChunk(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class GenerateCompleted(_message.Message):
    __slots__ = ("settings", "model_revision", "width", "height", "media_type", "size_bytes", "sha256", "statistics", "stages", "peak_memory_bytes")
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    MODEL_REVISION_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    PEAK_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    settings: _types_pb2.GenerationSettings
    model_revision: str
    width: int
    height: int
    media_type: str
    size_bytes: int
    sha256: bytes
    statistics: _types_pb2.FrameStatistics
    stages: _containers.RepeatedCompositeFieldContainer[_types_pb2.StageDuration]
    peak_memory_bytes: int
    def __init__(self, settings: _Optional[_Union[_types_pb2.GenerationSettings, _Mapping]] = ..., model_revision: _Optional[str] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., media_type: _Optional[str] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[bytes] = ..., statistics: _Optional[_Union[_types_pb2.FrameStatistics, _Mapping]] = ..., stages: _Optional[_Iterable[_Union[_types_pb2.StageDuration, _Mapping]]] = ..., peak_memory_bytes: _Optional[int] = ...) -> None: ...

class EstimateRequest(_message.Message):
    __slots__ = ("settings",)
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    settings: _types_pb2.GenerationSettings
    def __init__(self, settings: _Optional[_Union[_types_pb2.GenerationSettings, _Mapping]] = ...) -> None: ...

class EstimateResponse(_message.Message):
    __slots__ = ("estimate",)
    ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    estimate: _types_pb2.Estimate
    def __init__(self, estimate: _Optional[_Union[_types_pb2.Estimate, _Mapping]] = ...) -> None: ...

class ModelInfo(_message.Message):
    __slots__ = ("name", "source", "revision", "licence", "capabilities", "default_width", "default_height", "default_frames", "default_fps", "loaded", "available", "is_default", "max_frames", "size_multiple", "default_steps", "default_guidance_scale")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    LICENCE_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_WIDTH_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_FRAMES_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_FPS_FIELD_NUMBER: _ClassVar[int]
    LOADED_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    MAX_FRAMES_FIELD_NUMBER: _ClassVar[int]
    SIZE_MULTIPLE_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_STEPS_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_GUIDANCE_SCALE_FIELD_NUMBER: _ClassVar[int]
    name: str
    source: str
    revision: str
    licence: str
    capabilities: _containers.RepeatedScalarFieldContainer[ModelCapability]
    default_width: int
    default_height: int
    default_frames: int
    default_fps: int
    loaded: bool
    available: bool
    is_default: bool
    max_frames: int
    size_multiple: int
    default_steps: int
    default_guidance_scale: float
    def __init__(self, name: _Optional[str] = ..., source: _Optional[str] = ..., revision: _Optional[str] = ..., licence: _Optional[str] = ..., capabilities: _Optional[_Iterable[_Union[ModelCapability, str]]] = ..., default_width: _Optional[int] = ..., default_height: _Optional[int] = ..., default_frames: _Optional[int] = ..., default_fps: _Optional[int] = ..., loaded: bool = ..., available: bool = ..., is_default: bool = ..., max_frames: _Optional[int] = ..., size_multiple: _Optional[int] = ..., default_steps: _Optional[int] = ..., default_guidance_scale: _Optional[float] = ...) -> None: ...

class GeneratorServiceGetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GeneratorServiceGetStatusResponse(_message.Message):
    __slots__ = ("version", "device", "total_memory_bytes", "free_memory_bytes", "running", "queued", "queue_limit", "models")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    FREE_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    QUEUED_FIELD_NUMBER: _ClassVar[int]
    QUEUE_LIMIT_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    version: str
    device: str
    total_memory_bytes: int
    free_memory_bytes: int
    running: int
    queued: int
    queue_limit: int
    models: _containers.RepeatedCompositeFieldContainer[ModelInfo]
    def __init__(self, version: _Optional[str] = ..., device: _Optional[str] = ..., total_memory_bytes: _Optional[int] = ..., free_memory_bytes: _Optional[int] = ..., running: _Optional[int] = ..., queued: _Optional[int] = ..., queue_limit: _Optional[int] = ..., models: _Optional[_Iterable[_Union[ModelInfo, _Mapping]]] = ...) -> None: ...
