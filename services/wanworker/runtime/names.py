"""Names of spans, attributes and metrics, each declared once.

Semantic conventions come first; what they have no name for begins with `wanworker.`. The convention's own
names are spelled out here rather than imported, because OpenTelemetry ships them in a private module.
"""

from typing import Final

# Spans, in the order in which a job makes them.
SPAN_JOB: Final = "job"
SPAN_ENHANCE: Final = "enhance"
SPAN_QUEUE: Final = "queue"
SPAN_ATTEMPT: Final = "attempt"
SPAN_LOAD_MODEL: Final = "load_model"
SPAN_ENCODE_TEXT: Final = "encode_text"
SPAN_DENOISE: Final = "denoise"
SPAN_DECODE: Final = "decode"
SPAN_MUX: Final = "mux"
SPAN_STORE: Final = "store"

# Span events.
EVENT_STEP: Final = "denoising_step"
EVENT_DEGRADATION: Final = "degradation"
EVENT_WARNING: Final = "warning"
EVENT_CACHE_HIT: Final = "cache_hit"
EVENT_FIRST_TOKEN: Final = "first_token"

# Attributes of calls (semantic conventions, rpc.*).
RPC_SYSTEM: Final = "rpc.system.name"
RPC_METHOD: Final = "rpc.method"
RPC_STATUS: Final = "rpc.response.status_code"
"""Name of the status code, for example "OK"."""
RPC_GRPC_STATUS: Final = "rpc.grpc.status_code"
"""Number of the status code. Deprecated in favour of `RPC_STATUS`, yet what Jaeger's users search for."""
NETWORK_PEER: Final = "network.peer.address"
ERROR_TYPE: Final = "error.type"

# Attributes of jobs and generations.
ATTR_JOB_ID: Final = "wanworker.job.id"
ATTR_JOB_TYPE: Final = "wanworker.job.type"
ATTR_JOB_STATE: Final = "wanworker.job.state"
ATTR_ATTEMPT: Final = "wanworker.attempt"
ATTR_MODEL: Final = "wanworker.model"
ATTR_MODEL_REVISION: Final = "wanworker.model.revision"
ATTR_WIDTH: Final = "wanworker.width"
ATTR_HEIGHT: Final = "wanworker.height"
ATTR_FRAMES: Final = "wanworker.frames"
ATTR_FPS: Final = "wanworker.fps"
ATTR_STEPS: Final = "wanworker.steps"
ATTR_STEP: Final = "wanworker.step"
ATTR_GUIDANCE: Final = "wanworker.guidance_scale"
ATTR_SEED: Final = "wanworker.seed"
ATTR_QUEUE_POSITION: Final = "wanworker.queue.position"
ATTR_SIZE_BYTES: Final = "wanworker.size_bytes"
ATTR_MEDIA_TYPE: Final = "wanworker.media_type"
ATTR_CACHED: Final = "wanworker.cached"
ATTR_REASON: Final = "wanworker.reason"
ATTR_STAGE: Final = "wanworker.stage"
ATTR_DEVICE: Final = "wanworker.device"
ATTR_PEAK_MEMORY_BYTES: Final = "wanworker.memory.peak_bytes"

# Attributes of the language model (semantic conventions, gen_ai.*).
GEN_AI_OPERATION: Final = "gen_ai.operation.name"
GEN_AI_SYSTEM: Final = "gen_ai.provider.name"
GEN_AI_REQUEST_MODEL: Final = "gen_ai.request.model"
GEN_AI_RESPONSE_MODEL: Final = "gen_ai.response.model"
GEN_AI_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
GEN_AI_TEMPERATURE: Final = "gen_ai.request.temperature"
GEN_AI_SEED: Final = "gen_ai.request.seed"
GEN_AI_TOKEN_TYPE: Final = "gen_ai.token.type"
GEN_AI_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
GEN_AI_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
GEN_AI_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"

# Metrics; seconds and bytes throughout.
METRIC_RPC_DURATION: Final = "rpc.server.call.duration"
METRIC_JOBS: Final = "wanworker.jobs"
METRIC_JOB_DURATION: Final = "wanworker.job.duration"
METRIC_STAGE_DURATION: Final = "wanworker.stage.duration"
METRIC_QUEUE_LENGTH: Final = "wanworker.queue.length"
METRIC_STEP_DURATION: Final = "wanworker.step.duration"
METRIC_WARNINGS: Final = "wanworker.warnings"
METRIC_DEGRADATIONS: Final = "wanworker.degradations"
METRIC_MEMORY_PEAK: Final = "wanworker.memory.peak"
METRIC_DEVICE_ALLOCATED: Final = "wanworker.device.memory.allocated"
METRIC_DEVICE_RESERVED: Final = "wanworker.device.memory.reserved"
METRIC_DEVICE_FREE: Final = "wanworker.device.memory.free"
METRIC_ARTIFACT_SIZE: Final = "wanworker.artifact.size"
METRIC_TOKENS: Final = "gen_ai.client.token.usage"
METRIC_FIRST_TOKEN: Final = "gen_ai.server.time_to_first_token"
