"""Puts the generator together as a service."""

from importlib.metadata import PackageNotFoundError, version

import grpc.aio

from wanworker.generator.engine import Engine
from wanworker.generator.runner import Runner
from wanworker.generator.servicer import GeneratorServicer
from wanworker.generator.settings import GeneratorSettings
from wanworker.runtime.server import ServiceDefinition, StartError
from wanworker.v1 import generator_pb2, generator_pb2_grpc


def build_service(settings: GeneratorSettings) -> ServiceDefinition:
    """The service; nothing is loaded before `warm_up`.

    Raises:
        StartError: there is no such device.
    """
    try:
        runner = Runner(settings, Engine(settings))
    except ValueError as error:
        raise StartError(str(error)) from error
    return define_service(settings, runner)


def define_service(settings: GeneratorSettings, runner: Runner) -> ServiceDefinition:
    """The service around a runner."""
    servicer = GeneratorServicer(settings, runner, _version())

    def add_to_server(server: grpc.aio.Server) -> None:
        generator_pb2_grpc.add_GeneratorServiceServicer_to_server(servicer, server)

    async def drain() -> None:
        runner.close_queue()

    async def broken() -> None:
        await runner.broken.wait()

    return ServiceDefinition(
        name=generator_pb2.DESCRIPTOR.services_by_name["GeneratorService"].full_name,
        add_to_server=add_to_server,
        warm_up=runner.warm_up,
        drain=drain,
        close=runner.close,
        broken=broken,
    )


def _version() -> str:
    try:
        return version("wanworker")
    except PackageNotFoundError:
        return "0.0.0"
