from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Stage(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STAGE_UNSPECIFIED: _ClassVar[Stage]
    STAGE_QUEUED: _ClassVar[Stage]
    STAGE_ENHANCING: _ClassVar[Stage]
    STAGE_LOADING_MODEL: _ClassVar[Stage]
    STAGE_ENCODING_TEXT: _ClassVar[Stage]
    STAGE_DENOISING: _ClassVar[Stage]
    STAGE_DECODING: _ClassVar[Stage]
    STAGE_MUXING: _ClassVar[Stage]
    STAGE_STORING: _ClassVar[Stage]

class OutputFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTPUT_FORMAT_UNSPECIFIED: _ClassVar[OutputFormat]
    OUTPUT_FORMAT_MP4: _ClassVar[OutputFormat]
    OUTPUT_FORMAT_PNG: _ClassVar[OutputFormat]
    OUTPUT_FORMAT_WEBP: _ClassVar[OutputFormat]
STAGE_UNSPECIFIED: Stage
STAGE_QUEUED: Stage
STAGE_ENHANCING: Stage
STAGE_LOADING_MODEL: Stage
STAGE_ENCODING_TEXT: Stage
STAGE_DENOISING: Stage
STAGE_DECODING: Stage
STAGE_MUXING: Stage
STAGE_STORING: Stage
OUTPUT_FORMAT_UNSPECIFIED: OutputFormat
OUTPUT_FORMAT_MP4: OutputFormat
OUTPUT_FORMAT_PNG: OutputFormat
OUTPUT_FORMAT_WEBP: OutputFormat

class Progress(_message.Message):
    __slots__ = ("stage", "fraction", "step", "total_steps", "eta", "queue_position", "attempt")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    FRACTION_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    TOTAL_STEPS_FIELD_NUMBER: _ClassVar[int]
    ETA_FIELD_NUMBER: _ClassVar[int]
    QUEUE_POSITION_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    stage: Stage
    fraction: float
    step: int
    total_steps: int
    eta: _duration_pb2.Duration
    queue_position: int
    attempt: int
    def __init__(self, stage: _Optional[_Union[Stage, str]] = ..., fraction: _Optional[float] = ..., step: _Optional[int] = ..., total_steps: _Optional[int] = ..., eta: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., queue_position: _Optional[int] = ..., attempt: _Optional[int] = ...) -> None: ...

class Preview(_message.Message):
    __slots__ = ("webp", "width", "height", "frames", "step")
    WEBP_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    webp: bytes
    width: int
    height: int
    frames: int
    step: int
    def __init__(self, webp: _Optional[bytes] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., frames: _Optional[int] = ..., step: _Optional[int] = ...) -> None: ...

class MemoryOptions(_message.Message):
    __slots__ = ("tiled_decode", "evict_text_encoder", "free_caches")
    TILED_DECODE_FIELD_NUMBER: _ClassVar[int]
    EVICT_TEXT_ENCODER_FIELD_NUMBER: _ClassVar[int]
    FREE_CACHES_FIELD_NUMBER: _ClassVar[int]
    tiled_decode: bool
    evict_text_encoder: bool
    free_caches: bool
    def __init__(self, tiled_decode: bool = ..., evict_text_encoder: bool = ..., free_caches: bool = ...) -> None: ...

class SpeedOptions(_message.Message):
    __slots__ = ("guidance_cutoff", "step_cache_threshold")
    GUIDANCE_CUTOFF_FIELD_NUMBER: _ClassVar[int]
    STEP_CACHE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    guidance_cutoff: float
    step_cache_threshold: float
    def __init__(self, guidance_cutoff: _Optional[float] = ..., step_cache_threshold: _Optional[float] = ...) -> None: ...

class GenerationSettings(_message.Message):
    __slots__ = ("model", "width", "height", "frames", "fps", "steps", "guidance_scale", "flow_shift", "memory", "speed")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    FPS_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_SCALE_FIELD_NUMBER: _ClassVar[int]
    FLOW_SHIFT_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    SPEED_FIELD_NUMBER: _ClassVar[int]
    model: str
    width: int
    height: int
    frames: int
    fps: int
    steps: int
    guidance_scale: float
    flow_shift: float
    memory: MemoryOptions
    speed: SpeedOptions
    def __init__(self, model: _Optional[str] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., frames: _Optional[int] = ..., fps: _Optional[int] = ..., steps: _Optional[int] = ..., guidance_scale: _Optional[float] = ..., flow_shift: _Optional[float] = ..., memory: _Optional[_Union[MemoryOptions, _Mapping]] = ..., speed: _Optional[_Union[SpeedOptions, _Mapping]] = ...) -> None: ...

class Estimate(_message.Message):
    __slots__ = ("fits", "needed_bytes", "available_bytes", "duration", "stages")
    FITS_FIELD_NUMBER: _ClassVar[int]
    NEEDED_BYTES_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_BYTES_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    fits: bool
    needed_bytes: int
    available_bytes: int
    duration: _duration_pb2.Duration
    stages: _containers.RepeatedCompositeFieldContainer[StageDuration]
    def __init__(self, fits: bool = ..., needed_bytes: _Optional[int] = ..., available_bytes: _Optional[int] = ..., duration: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., stages: _Optional[_Iterable[_Union[StageDuration, _Mapping]]] = ...) -> None: ...

class StageDuration(_message.Message):
    __slots__ = ("stage", "duration")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    stage: Stage
    duration: _duration_pb2.Duration
    def __init__(self, stage: _Optional[_Union[Stage, str]] = ..., duration: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class FrameStatistics(_message.Message):
    __slots__ = ("mean_luma", "luma_deviation", "mean_frame_difference")
    MEAN_LUMA_FIELD_NUMBER: _ClassVar[int]
    LUMA_DEVIATION_FIELD_NUMBER: _ClassVar[int]
    MEAN_FRAME_DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    mean_luma: float
    luma_deviation: float
    mean_frame_difference: float
    def __init__(self, mean_luma: _Optional[float] = ..., luma_deviation: _Optional[float] = ..., mean_frame_difference: _Optional[float] = ...) -> None: ...
