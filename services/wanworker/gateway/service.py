"""Putting the gateway together."""

from wanworker.gateway import metrics
from wanworker.gateway.artifacts import DirectoryArtifactStore
from wanworker.gateway.book import JobBook
from wanworker.gateway.catalogue import ModelCatalogue
from wanworker.gateway.duty import Duty
from wanworker.gateway.expiry import Caretaker, Limits
from wanworker.gateway.jobs import JobService
from wanworker.gateway.keys import ApiKeys
from wanworker.gateway.lock import lock_for
from wanworker.gateway.peers import EnhancerPeer, GeneratorPeer
from wanworker.gateway.rates import Rates
from wanworker.gateway.references import ReferenceFetcher
from wanworker.gateway.runner import DbosRunner
from wanworker.gateway.servicer import GatewayServicer
from wanworker.gateway.settings import GatewaySettings
from wanworker.gateway.startup import check_start
from wanworker.gateway.steps import JobSteps, Workshop
from wanworker.gateway.store import SqlJobStore
from wanworker.runtime.interceptors import CallLimits
from wanworker.runtime.server import ServiceDefinition, StartError
from wanworker.runtime.tls import TlsFiles
from wanworker.runtime.transport import host_of, is_loopback
from wanworker.v1 import gateway_pb2_grpc

NAME = "wanworker.v1.GatewayService"
"""Full name of the service."""


class Gateway:
    """The parts and their life."""

    def __init__(self, settings: GatewaySettings, fetcher: ReferenceFetcher | None = None) -> None:
        """Opens nothing yet. StartError if what the settings name cannot be used."""
        check_start(settings)
        url = settings.resolved_database_url
        rates = Rates()
        self._store = SqlJobStore(url)
        self._book = JobBook(
            self._store, settings.progress_save_seconds, metrics.job_ended, rates, settings.max_concurrent_jobs
        )
        self._artifacts = DirectoryArtifactStore(settings.data_dir / "artifacts")
        self._gauges = metrics.Gauges(self._book.tally, settings.queue_limit, settings.data_dir)
        tls = peer_tls(settings)
        self._enhancer = EnhancerPeer(settings.enhancer_address, tls)
        self._generator = GeneratorPeer(settings.generator_address, tls)
        models = ModelCatalogue(self._generator, settings.peer_timeout_seconds)
        shop = Workshop(
            settings=settings,
            book=self._book,
            artifacts=self._artifacts,
            enhancer=self._enhancer,
            generator=self._generator,
            models=models,
            fetcher=fetcher or ReferenceFetcher(settings.reference_max_bytes, settings.reference_timeout_seconds),
            rates=rates,
        )
        self._runner = DbosRunner(url, settings.max_concurrent_jobs, self._book, JobSteps(shop))
        limits = Limits(
            settings.artifact_max_age_seconds, settings.artifact_max_total_bytes, settings.job_max_age_seconds
        )
        caretaker = Caretaker(self._artifacts, self._book, limits, settings.artifact_sweep_seconds, self._runner.forget)
        self._duty = Duty(lock_for(url, settings.data_dir), self._book, self._runner, caretaker.look)
        self.jobs = JobService(
            settings,
            self._book,
            self._runner,
            self._artifacts,
            models,
            self._enhancer,
            self._generator,
            rates,
        )
        """The gateway's calls."""

    async def warm_up(self) -> None:
        """Open the store, and become active if no other gateway is. Active or not, all calls are served."""
        self._artifacts.open()
        await self._store.open()
        metrics.begin(self._gauges)
        await self._duty.start()

    async def drain(self) -> None:
        """Refuse new jobs, hand back the running ones, send every watcher away to come back, and let another
        gateway take over: it need not wait until the last call here has ended."""
        refusal = self.jobs.refuse()
        await self._duty.stop()
        await self._runner.drain()
        await self._book.close(refusal)
        await self._duty.close()

    async def close(self) -> None:
        """Release everything."""
        await self.jobs.close()
        await self._duty.close()
        await self._store.close()
        await self._enhancer.close()
        await self._generator.close()


def build_service(settings: GatewaySettings, fetcher: ReferenceFetcher | None = None) -> ServiceDefinition:
    """The gateway as a service. Needs a running event loop.

    Raises:
        PreconditionError: Certificates or API keys cannot be used.
        StartError: Peers on other machines, and neither TLS nor leave to go without.
    """
    limits = CallLimits(settings.api_key_calls_per_minute, settings.api_key_concurrent_calls)
    keys = None if settings.api_keys is None else ApiKeys(settings.api_keys, limits)
    gateway = Gateway(settings, fetcher)
    return ServiceDefinition(
        name=NAME,
        add_to_server=lambda server: gateway_pb2_grpc.add_GatewayServiceServicer_to_server(
            GatewayServicer(gateway.jobs), server
        ),
        warm_up=gateway.warm_up,
        drain=gateway.drain,
        close=gateway.close,
        authenticator=keys,
    )


def peer_tls(settings: GatewaySettings) -> TlsFiles | None:
    """The files for connections to the peers; None for plaintext. StartError where that is not allowed."""
    named = settings.variable
    if (settings.peer_certificate is None) != (settings.peer_key is None):
        raise StartError(f"{named('peer_certificate')} and {named('peer_key')} go together: one of them is not set")
    if settings.peer_ca is not None:
        return TlsFiles(settings.peer_certificate, settings.peer_key, settings.peer_ca)
    if settings.peer_certificate is not None:
        raise StartError(f"{named('peer_certificate')} needs {named('peer_ca')}")
    for field in ("enhancer_address", "generator_address"):
        address = getattr(settings, field)
        if not is_loopback(host_of(address)) and not settings.allow_plaintext:
            raise StartError(
                f"{named(field)}={address} is not loopback and there is no TLS: set {named('peer_ca')}, "
                f"or {named('allow_plaintext')}=true where the network is safe"
            )
    return None
