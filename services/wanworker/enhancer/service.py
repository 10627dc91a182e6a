"""Puts the enhancer together."""

from wanworker.enhancer.engine import EngineOptions, LlamaEngine
from wanworker.enhancer.enhancer import Enhancer
from wanworker.enhancer.model import Writer
from wanworker.enhancer.servicer import EnhancerServicer
from wanworker.enhancer.settings import EnhancerSettings
from wanworker.enhancer.sources import ModelFiles, source_from
from wanworker.runtime.server import ServiceDefinition
from wanworker.v1 import enhancer_pb2_grpc as pb_grpc

SERVICE_NAME = "wanworker.v1.EnhancerService"


def build_service(settings: EnhancerSettings) -> ServiceDefinition:
    """Return the service. Call it inside the event loop; nothing is loaded yet."""
    options = engine_options(settings)

    def load(files: ModelFiles) -> Writer:
        return LlamaEngine(files.first, options)

    enhancer = Enhancer(settings, source_from(settings), load)
    servicer = EnhancerServicer(enhancer)
    return ServiceDefinition(
        name=SERVICE_NAME,
        add_to_server=lambda server: pb_grpc.add_EnhancerServiceServicer_to_server(servicer, server),
        warm_up=enhancer.warm_up,
        drain=enhancer.drain,
        close=enhancer.close,
    )


def engine_options(settings: EnhancerSettings) -> EngineOptions:
    """Return how llama.cpp is to load the model."""
    return EngineOptions(
        context_tokens=settings.context_tokens,
        threads=settings.threads,
        gpu_layers=settings.gpu_layers,
        prompt_style=settings.prompt_style,
    )
