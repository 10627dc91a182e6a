"""How the services are: the answers of the three `GetStatus` calls."""

from dataclasses import dataclass, field

from wanworker.client.enums import ModelCapability
from wanworker.v1 import gateway_pb2


@dataclass(frozen=True)
class EnhancerStatus:
    """How an enhancer is."""

    version: str
    """Version of the service."""
    model: str
    """The model's name."""
    model_source: str
    """Where it comes from: a path, or "repo/file" on the hub."""
    loaded: bool
    """Whether it is in memory now."""
    context_tokens: int
    """Tokens that its context holds."""
    queued: int
    """Prompts that wait."""
    queue_limit: int
    """Prompts that may wait."""
    busy: bool
    """Whether a prompt is being written."""


@dataclass(frozen=True)
class ModelInfo:
    """One row of a generator's model registry."""

    name: str
    """The name to ask for."""
    source: str
    """Where the weights come from."""
    revision: str
    """Revision of the weights, empty while unknown."""
    licence: str
    """SPDX identifier of the weights' licence."""
    capabilities: tuple[ModelCapability, ...]
    """What it can do."""
    default_size: tuple[int, int]
    """Width and height in pixels that it works best at."""
    default_frames: int
    """Frames that it works best at."""
    default_fps: int
    """Frames a second that it was trained at."""
    max_frames: int
    """Most frames that it takes."""
    loaded: bool
    """Whether its weights are in memory now."""
    available: bool
    """Whether its files are on that machine."""
    is_default: bool
    """Whether a request that names no model gets it."""


@dataclass(frozen=True)
class GeneratorStatus:
    """How a generator is."""

    version: str
    """Version of the service."""
    device: str
    """The device's name."""
    total_memory_bytes: int
    """Memory of the device."""
    free_memory_bytes: int
    """Memory of the device that is free now."""
    running: int
    """Jobs that run."""
    queued: int
    """Jobs that wait."""
    queue_limit: int
    """Jobs that may wait."""
    models: tuple[ModelInfo, ...]
    """The registry."""


@dataclass(frozen=True)
class Peer:
    """The place of one of the gateway's peers on the network."""

    address: str
    """Its address, as configured."""
    reachable: bool
    """Whether it answered."""
    error: str
    """Why not; empty if it did."""


@dataclass(frozen=True)
class GatewayStatus:
    """How a gateway, its queue and its peers are."""

    version: str
    """Version of the service."""
    running: int
    """Jobs that run."""
    queued: int
    """Jobs that wait."""
    max_concurrent_jobs: int
    """Jobs that may run at once."""
    queue_limit: int
    """Jobs that may wait."""
    enhancer_peer: Peer
    """The enhancer's place."""
    enhancer: EnhancerStatus | None
    """What the enhancer says of itself; None if it did not answer."""
    generator_peer: Peer
    """The generator's place."""
    generator: GeneratorStatus | None
    """What the generator says of itself; None if it did not answer."""
    raw: gateway_pb2.GatewayServiceGetStatusResponse = field(repr=False, compare=False)
    """The message that this was read from."""
