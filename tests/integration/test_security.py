"""Each door of the system is tried; what every attempt got stands in docs/security.md, made by this file."""

import asyncio
import hashlib
import io
import json
import logging
import os
import secrets
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.certificates import Authority, Pair
from tests.support.doors import Ledger, got
from tests.support.gateway import System, running_system, until
from tests.support.runtime import FakeEnhancer, FakeService, call, recorded_spans, running, settings, start_call
from wanworker.client import AsyncClient, tls_credentials
from wanworker.client.status import status_details
from wanworker.gateway.service import build_service
from wanworker.gateway.settings import GatewaySettings
from wanworker.runtime import server as server_module
from wanworker.runtime.errors import PreconditionError
from wanworker.runtime.logging import JsonFormatter
from wanworker.runtime.server import ServiceServer, StartError
from wanworker.runtime.transport import MAX_STREAMS
from wanworker.v1 import gateway_pb2 as pb
from wanworker.v1 import gateway_pb2_grpc

LEDGER = Ledger()
TRIED: set[str] = set()


@pytest.fixture(autouse=True)
def tried(request: pytest.FixtureRequest) -> None:
    """Which tests have run: the table is complete when all have."""
    TRIED.add(request.node.name)


class Keys:
    """A file of API keys, and the keys, which it does not hold."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: dict[str, str] = {}

    def add(self, name: str, limits: str = "") -> str:
        key = f"wan_{secrets.token_urlsafe(32)}"
        self._lines[key] = f"{name} sha256:{hashlib.sha256(key.encode()).hexdigest()} {limits}\n"
        self._write()
        return key

    def revoke(self, key: str) -> None:
        del self._lines[key]
        self._write()

    def _write(self) -> None:
        self.path.write_text("# keys\n\n" + "".join(self._lines.values()))


class Caller:
    """Calls a gateway with a key, or with any other `authorization`."""

    def __init__(self, channel: grpc.aio.Channel, authorization: str = "") -> None:
        self._stub: Any = gateway_pb2_grpc.GatewayServiceStub(channel)
        self._options: dict[str, Any] = {"timeout": 20}
        if authorization:
            self._options["metadata"] = (("authorization", authorization),)

    async def create(self, **spec: Any) -> pb.Job:
        request = pb.CreateJobRequest(spec=pb.JobSpec(**({"prompt": "a cat"} | spec)))
        job: pb.Job = (await self._stub.CreateJob(request, **self._options)).job
        return job

    async def get(self, job_id: str) -> pb.Job:
        job: pb.Job = (await self._stub.GetJob(pb.GetJobRequest(job_id=job_id), **self._options)).job
        return job

    async def cancel(self, job_id: str) -> None:
        await self._stub.CancelJob(pb.CancelJobRequest(job_id=job_id), **self._options)

    async def page(self, token: str = "", size: int = 0) -> Any:
        request = pb.ListJobsRequest(page_token=token, page_size=size)
        return await self._stub.ListJobs(request, **self._options)

    async def watch(self, job_id: str) -> list[Any]:
        return [event async for event in self._stub.WatchJob(pb.WatchJobRequest(job_id=job_id), **self._options)]

    async def read(self, job_id: str) -> bytes:
        pieces = self._stub.ReadArtifact(pb.ReadArtifactRequest(job_id=job_id), **self._options)
        return b"".join([piece.data async for piece in pieces])

    async def run(self, **spec: Any) -> list[Any]:
        request = pb.RunJobRequest(spec=pb.JobSpec(**({"prompt": "a cat"} | spec)))
        return [event async for event in self._stub.RunJob(request, **self._options)]


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "keys.txt")


def bearer(system: System, key: str = "") -> Caller:
    assert system.channel is not None
    return Caller(system.channel, f"Bearer {key}" if key else "")


# API keys


async def test_strangers(tmp_path: Path, keys: Keys) -> None:
    key = keys.add("alice")
    digest = hashlib.sha256(key.encode()).hexdigest()
    attempts = {
        "no key": ("", "UNAUTHENTICATED (API_KEY_MISSING)"),
        "a wrong key": ("Bearer wan_wrong", "UNAUTHENTICATED (API_KEY_UNKNOWN)"),
        "the key with another scheme": (f"Basic {key}", "UNAUTHENTICATED (API_KEY_MISSING)"),
        "the key's hash, as the file has it": (f"Bearer {digest}", "UNAUTHENTICATED (API_KEY_UNKNOWN)"),
        "a key of 4,000 characters": (f"Bearer {'x' * 4000}", "UNAUTHENTICATED (API_KEY_UNKNOWN)"),
        "the key": (f"Bearer {key}", "OK"),
    }
    async with running_system(tmp_path / "data", api_keys=keys.path) as system:
        assert system.channel is not None
        for attempt, (authorization, expected) in attempts.items():
            caller = Caller(system.channel, authorization)
            outcome = await got(caller.create())
            assert LEDGER.note("API key", attempt, outcome) == expected
            for other in (caller.page(), caller.run(), caller.get(str(uuid.uuid4()))):
                assert (await got(other)).startswith(expected.split()[0].replace("OK", ""))
        health = health_pb2_grpc.HealthStub(system.channel)
        outcome = await got(health.Check(health_pb2.HealthCheckRequest()))
        assert LEDGER.note("API key", "a health check without a key", outcome) == "OK"


async def test_a_revoked_key_and_a_new_one(tmp_path: Path, keys: Keys) -> None:
    old = keys.add("alice")
    async with running_system(tmp_path / "data", api_keys=keys.path) as system:
        job = await bearer(system, old).create()
        new = keys.add("alice")
        assert (await bearer(system, new).get(job.id)).id == job.id
        keys.revoke(old)
        outcome = await got(bearer(system, old).get(job.id))
        assert LEDGER.note("API key", "a key that was revoked a moment ago", outcome) == (
            "UNAUTHENTICATED (API_KEY_UNKNOWN)"
        )
        assert await got(bearer(system, new).get(job.id)) == "OK"


async def test_a_broken_file_of_keys_changes_nothing(
    tmp_path: Path, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    key = keys.add("alice")
    async with running_system(tmp_path / "data", api_keys=keys.path) as system:
        keys.path.write_text("alice\n")
        assert await got(bearer(system, key).page()) == "OK"
        keys.path.unlink()
        assert await got(bearer(system, key).page()) == "OK"
        outcome = await got(bearer(system).page())
        assert LEDGER.note("API key", "no key, after the file of keys was deleted", outcome) == (
            "UNAUTHENTICATED (API_KEY_MISSING)"
        )
    complaints = [record.getMessage() for record in caplog.records if "the old ones stay" in record.getMessage()]
    assert len(complaints) == 2
    assert "line 1: after the name 'alice' comes sha256: and 64 hex digits" in complaints[0]


async def test_names_are_logged_and_traced_and_keys_are_not(tmp_path: Path, keys: Keys) -> None:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonFormatter("test"))
    root, ours = logging.getLogger(), logging.getLogger("wanworker")
    levels = root.level, ours.level
    root.setLevel("DEBUG")
    ours.setLevel("DEBUG")
    root.addHandler(handler)
    key = keys.add("alice")
    try:
        with recorded_spans() as spans:
            async with running_system(tmp_path / "data", api_keys=keys.path) as system:
                job = await bearer(system, key).create()
                await bearer(system, key).watch(job.id)
                await got(bearer(system, "wan_wrong").page())
            finished = [span.to_json() for span in spans.get_finished_spans()]
    finally:
        root.removeHandler(handler)
        root.setLevel(levels[0])
        ours.setLevel(levels[1])
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    access = {line["method"].rpartition("/")[2]: line for line in lines if line["logger"] == "wanworker.access"}
    assert access["CreateJob"]["caller"] == "alice"
    assert "caller" not in access["ListJobs"]
    named = [span for span in map(json.loads, finished) if span["attributes"].get("enduser.id") == "alice"]
    assert {"job", "wanworker.v1.GatewayService/CreateJob"} <= {span["name"] for span in named}
    for text in (out.getvalue(), *finished):
        assert key not in text
        assert "wan_wrong" not in text


async def test_the_command_line_and_the_client_bring_key_and_certificates(tmp_path: Path, keys: Keys) -> None:
    ours = Authority(tmp_path / "ours")
    server, client = ours.issue("server"), ours.issue("client")
    key = keys.add("alice")
    tls = {"tls_certificate": server.certificate, "tls_key": server.key, "tls_client_ca": ours.ca}
    async with running_system(tmp_path / "data", api_keys=keys.path, **tls) as system:
        assert system.server is not None
        place = ["--address", f"localhost:{system.server.port}"]
        options = ["--ca", str(ours.ca), "--certificate", str(client.certificate), "--key", str(client.key)]

        async def wanworker(*arguments: str, api_key: str = key) -> tuple[int | None, str]:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "wanworker.client", *arguments,
                env={**os.environ, "PYTHONPATH": ":".join(sys.path), "WANWORKER_API_KEY": api_key},
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
            said, _ = await process.communicate()
            return process.returncode, said.decode()

        code, said = await wanworker(*options, "jobs", "list", "--json", *place)
        assert code == 0, said
        code, said = await wanworker(*options, "jobs", "list", *place, api_key="wan_wrong")
        assert (code, "API_KEY_UNKNOWN" in said) == (1, True), said
        code, said = await wanworker("--tls", "status", *place)
        assert (code, "CERTIFICATE_VERIFY_FAILED" in said) == (3, True), said
        code, said = await wanworker("--certificate", str(client.certificate), "status", *place)
        assert (code, "go together" in said) == (2, True), said
        code, said = await wanworker("--ca", str(tmp_path / "none.pem"), "status", *place)
        assert (code, "none.pem" in said) == (1, True), said
        credentials = tls_credentials(ours.ca, client.certificate, client.key)
        async with AsyncClient(place[1], credentials=credentials, api_key=key) as caller:
            assert [job async for job in caller.list()] == []
    with pytest.raises(ValueError, match="go together"):
        tls_credentials(ours.ca, client.certificate)


# Other people's jobs


async def test_other_peoples_jobs(tmp_path: Path, keys: Keys) -> None:
    alice_key, bob_key = keys.add("alice"), keys.add("bob")
    async with running_system(tmp_path / "data", api_keys=keys.path) as system:
        alice, bob = bearer(system, alice_key), bearer(system, bob_key)
        request_id = str(uuid.uuid4())
        job = await alice.create(request_id=request_id)
        await alice.watch(job.id)
        assert await alice.read(job.id)
        attempts: dict[str, Callable[[Caller, str], Any]] = {
            "GetJob": Caller.get,
            "WatchJob": Caller.watch,
            "ReadArtifact": Caller.read,
            "CancelJob": Caller.cancel,
        }
        for method, attempt in attempts.items():
            outcome = await got(attempt(bob, job.id))
            assert LEDGER.note("another key's job", method, outcome) == "NOT_FOUND (JOB_NOT_FOUND)"
            # Word for word what is said of a job that there is not.
            theirs, nobodys = await message(attempt(bob, job.id)), str(uuid.uuid4())
            assert theirs.replace(job.id, nobodys) == await message(attempt(bob, nobodys))
        page = await bob.page()
        assert not page.jobs
        LEDGER.note("another key's job", "ListJobs", f"OK, {len(page.jobs)} jobs")
        mine = await bob.create(request_id=request_id, prompt="a dog")
        assert mine.id != job.id
        LEDGER.note("another key's job", "CreateJob with its request_id", "OK, a job of one's own")
        assert (await alice.create(request_id=request_id)).id == job.id
        assert await got(alice.create(request_id=request_id, prompt="a dog")) == "ALREADY_EXISTS (REQUEST_ID_TAKEN)"
        await alice.create()
        token = (await alice.page(size=1)).next_page_token
        stolen = [row.id for row in (await bob.page(token)).jobs]
        assert stolen == [mine.id]
        LEDGER.note("another key's job", "ListJobs with its page token", "OK, one's own jobs")


async def message(attempt: Any) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        await attempt
    return str(status_details(caught.value).status)


async def test_jobs_from_before_there_were_keys_belong_to_nobody_but_anonymous(tmp_path: Path, keys: Keys) -> None:
    async with running_system(tmp_path / "data") as system:
        job = await system.create()
        await system.finished(job.id)
    alice, heir = keys.add("alice"), keys.add("anonymous")
    async with running_system(tmp_path / "data", api_keys=keys.path) as system:
        outcome = await got(bearer(system, alice).get(job.id))
        assert LEDGER.note("another key's job", "GetJob of one from before there were keys", outcome) == (
            "NOT_FOUND (JOB_NOT_FOUND)"
        )
        assert (await bearer(system, heir).get(job.id)).id == job.id


# Limits of a key


async def test_a_key_has_so_many_calls_a_minute(tmp_path: Path, keys: Keys) -> None:
    greedy, modest = keys.add("greedy", "calls_per_minute=3"), keys.add("modest")
    async with running_system(tmp_path / "data", api_keys=keys.path) as system:
        outcomes = [await got(bearer(system, greedy).page()) for _ in range(4)]
        assert outcomes[:3] == ["OK"] * 3
        assert LEDGER.note("limits", "the fourth call where three a minute are allowed", outcomes[3]) == (
            "RESOURCE_EXHAUSTED (TOO_MANY_CALLS) and RetryInfo"
        )
        assert await got(bearer(system, modest).page()) == "OK"


async def test_a_key_has_so_many_calls_at_once(tmp_path: Path, keys: Keys) -> None:
    greedy, modest = keys.add("greedy", "concurrent_calls=1"), keys.add("modest")
    async with running_system(tmp_path / "data", api_keys=keys.path) as system:
        system.generator.gate = asyncio.Event()
        running = asyncio.ensure_future(bearer(system, greedy).run())
        await until(lambda: len(system.generator.requests) == 1)
        outcome = await got(bearer(system, greedy).page())
        assert LEDGER.note("limits", "a second call at once where one is allowed", outcome) == (
            "RESOURCE_EXHAUSTED (TOO_MANY_CALLS) and RetryInfo"
        )
        assert await got(bearer(system, modest).page()) == "OK"
        system.generator.gate.set()
        await running
        assert await got(bearer(system, greedy).page()) == "OK"


# TLS


@asynccontextmanager
async def secured(
    pair: Pair, client_ca: Path | None = None
) -> AsyncIterator[Callable[[grpc.ChannelCredentials | None], Any]]:
    """A service with TLS; yields what tries to call it with credentials, as `localhost`."""
    async with running(tls_certificate=pair.certificate, tls_key=pair.key, tls_client_ca=client_ca) as served:
        address = f"localhost:{served.server.port}"

        async def attempt(credentials: grpc.ChannelCredentials | None) -> str:
            # A channel of its own: connections must not be shared with another attempt's.
            options = [("grpc.use_local_subchannel_pool", 1)]
            if credentials is None:
                channel = grpc.aio.insecure_channel(address, options)
            else:
                channel = grpc.aio.secure_channel(address, credentials, options)
            async with channel:
                return await got(call(channel, "unary", timeout=10))

        yield attempt


async def test_tls(tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    async with secured(ours.issue("server")) as attempt:
        assert LEDGER.note("TLS", "a client that trusts the authority", await attempt(ours.credentials())) == "OK"
        assert LEDGER.note("TLS", "plaintext to the TLS port", await attempt(None)) == "UNAVAILABLE"
        outcome = await attempt(theirs.credentials())
        assert LEDGER.note("TLS", "a client that trusts another authority", outcome).startswith(
            "UNAVAILABLE (CERTIFICATE_VERIFY_FAILED"
        )
    async with secured(ours.issue("old", expired=True)) as attempt:
        outcome = await attempt(ours.credentials())
        assert LEDGER.note("TLS", "the server's certificate has expired", outcome) == (
            "UNAVAILABLE (CERTIFICATE_VERIFY_FAILED: certificate has expired)"
        )
    async with secured(ours.issue("elsewhere", "elsewhere.example")) as attempt:
        outcome = await attempt(ours.credentials())
        assert LEDGER.note("TLS", "the server's certificate is another host's", outcome).startswith("UNAVAILABLE (")
    async with running() as served:
        address = f"localhost:{served.server.port}"
        async with grpc.aio.secure_channel(address, ours.credentials()) as channel:
            outcome = await got(call(channel, "unary", timeout=10))
        assert LEDGER.note("TLS", "TLS to a plaintext port", outcome).startswith("UNAVAILABLE")


async def test_mutual_tls(tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    async with secured(ours.issue("server"), client_ca=ours.ca) as attempt:
        trusting = ours.credentials
        outcomes = {
            "a certificate of the authority": (ours.issue("client"), "OK"),
            "no certificate": (None, "UNAVAILABLE"),
            "a certificate of another authority": (theirs.issue("client"), "UNAVAILABLE"),
            "a certificate that has expired": (ours.issue("late", expired=True), "UNAVAILABLE"),
        }
        for what, (pair, expected) in outcomes.items():
            assert LEDGER.note("mTLS", what, await attempt(trusting(pair))) == expected


async def test_a_renewed_certificate_is_served_without_a_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    ours, next_year = Authority(tmp_path / "ours"), Authority(tmp_path / "next")
    pair = ours.issue("server")
    async with secured(pair) as attempt:
        assert await attempt(ours.credentials()) == "OK"
        fresh = next_year.issue("server")
        pair.key.write_bytes(fresh.key.read_bytes())
        # Between the two writes key and certificate do not belong together.
        assert await attempt(ours.credentials()) == "OK"
        pair.certificate.write_bytes(fresh.certificate.read_bytes())
        assert await attempt(next_year.credentials()) == "OK"
        outcome = await attempt(ours.credentials())
        assert LEDGER.note("TLS", "the old authority, after the certificate was renewed in place", outcome).startswith(
            "UNAVAILABLE (CERTIFICATE_VERIFY_FAILED"
        )
    said = [record.getMessage() for record in caplog.records if record.getMessage().startswith("TLS files ")]
    assert any("the old ones stay" in line for line in said)
    assert "TLS files read again" in said


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"host": "0.0.0.0"}, "HOST=0.0.0.0 is not loopback and there is no TLS"),
        ({"host": ""}, "HOST= is not loopback"),
        ({"tls_certificate": "here"}, "TLS_CERTIFICATE and TLS_KEY go together"),
        ({"tls_client_ca": "here"}, "TLS_CLIENT_CA needs TLS_CERTIFICATE and TLS_KEY"),
        ({"tls_certificate": "missing", "tls_key": "here"}, "missing: No such file or directory"),
        ({"tls_certificate": "here", "tls_key": "here"}, "is no certificate chain that belongs to the key"),
        ({"tls_certificate": "good", "tls_key": "good", "tls_client_ca": "here"}, "holds no certificate"),
    ],
)
async def test_a_service_that_would_not_be_safe_does_not_start(
    tmp_path: Path, values: dict[str, str], said: str
) -> None:
    pair = Authority(tmp_path / "ours").issue("server")
    (tmp_path / "here").write_text("nonsense")
    files = {"tls_certificate": pair.certificate, "tls_key": pair.key}
    given = {
        name: value if name == "host" else files[name] if value == "good" else tmp_path / value
        for name, value in values.items()
    }
    server = ServiceServer(FakeService().definition(), settings(**given))
    with pytest.raises(StartError) as caught:
        await server.start()
    await server.stop()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    if values == {"host": "0.0.0.0"}:
        LEDGER.note("start", "a service on 0.0.0.0 without TLS", "does not start")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"generator_address": "generator:50053"}, "GENERATOR_ADDRESS=generator:50053 is not loopback"),
        ({"peer_certificate": "good"}, "PEER_CERTIFICATE and WANWORKER_GATEWAY_PEER_KEY go together"),
        ({"peer_certificate": "good", "peer_key": "good"}, "PEER_CERTIFICATE needs WANWORKER_GATEWAY_PEER_CA"),
        ({"peer_ca": "missing"}, "missing: No such file or directory"),
        ({"api_keys": "missing"}, "missing: cannot be read: No such file or directory"),
        ({"api_keys": "empty"}, "empty: holds no key"),
    ],
)
async def test_a_gateway_that_would_not_be_safe_does_not_start(
    tmp_path: Path, values: dict[str, str], said: str
) -> None:
    (tmp_path / "empty").write_text("# nobody\n")
    given = {name: value if name.endswith("_address") else tmp_path / value for name, value in values.items()}
    with pytest.raises((StartError, PreconditionError)) as caught:
        build_service(GatewaySettings(data_dir=tmp_path / "data", **given))  # type: ignore[arg-type]
    assert said in str(caught.value)
    if "generator_address" in values:
        LEDGER.note("start", "a gateway with peers on other machines without TLS", "does not start")


async def test_the_gateway_shows_its_certificate_to_its_peers_and_follows_a_renewal(tmp_path: Path) -> None:
    ours, next_year = Authority(tmp_path / "ours"), Authority(tmp_path / "next")
    server, client = ours.issue("server"), ours.issue("client")
    ca = tmp_path / "ca.pem"
    ca.write_bytes(ours.ca.read_bytes())
    files: dict[str, Any] = {"tls_certificate": server.certificate, "tls_key": server.key, "tls_client_ca": ca}
    service = FakeService(FakeEnhancer())
    async with running(service, **files) as served:
        peer = {"enhancer_address": f"localhost:{served.server.port}"}
        tls = {"peer_ca": ca, "peer_certificate": client.certificate, "peer_key": client.key}
        async with running_system(tmp_path / "data", **peer, **tls) as system:
            assert await enhancer_model(system) == "fake"
            for pair, name in ((server, "server"), (client, "client")):
                fresh = next_year.issue(name)
                pair.certificate.write_bytes(fresh.certificate.read_bytes())
                pair.key.write_bytes(fresh.key.read_bytes())
            ca.write_bytes(next_year.ca.read_bytes())
            assert await enhancer_model(system) == "fake"
            async with grpc.aio.secure_channel(peer["enhancer_address"], next_year.credentials()) as channel:
                outcome = await got(call(channel, "unary", timeout=10))
        assert LEDGER.note("mTLS", "the enhancer, without the gateway's certificate", outcome).startswith("UNAVAILABLE")


async def enhancer_model(system: System) -> str:
    status = await system.stub.GetStatus(pb.GatewayServiceGetStatusRequest())
    assert status.enhancer_peer.reachable, status.enhancer_peer.error
    return str(status.enhancer.model)


# Ids that are paths, messages that are too long


@pytest.mark.parametrize("job_id", ["../../../etc/passwd", "..%2f..%2fetc%2fpasswd", "/etc/passwd", "a\x00b", ""])
async def test_an_id_is_no_path(tmp_path: Path, job_id: str) -> None:
    async with running_system(tmp_path / "data") as system:
        caller = bearer(system)
        methods: Sequence[Callable[[Caller, str], Any]] = (Caller.get, Caller.read, Caller.watch, Caller.cancel)
        outcomes = {await got(method(caller, job_id)) for method in methods}
        assert outcomes == {"INVALID_ARGUMENT (BAD_FIELD)"}
        for field in ("request_id", "model"):
            if job_id:
                assert (await got(caller.create(**{field: job_id}))).startswith("INVALID_ARGUMENT")
        outcomes.add(await got(caller.page(token=job_id or "x")))
    if job_id.startswith("../"):
        LEDGER.note("ids", f"`{job_id}` as job_id", "INVALID_ARGUMENT (BAD_FIELD)")


async def test_messages_and_metadata_have_limits(tmp_path: Path) -> None:
    async with running_system(tmp_path / "data") as system:
        assert system.channel is not None
        long = b"x" * (5 * 1024 * 1024)
        outcome = await got(bearer(system).create(reference_image=pb.ReferenceImage(data=long)))
        assert LEDGER.note("sizes", "a request of 5 MiB", outcome) == "RESOURCE_EXHAUSTED"
        outcome = await got(bearer(system).create(prompt="x" * 5000))
        assert LEDGER.note("sizes", "a prompt of 5,000 characters", outcome) == "INVALID_ARGUMENT (BAD_FIELD)"
        flood = tuple((f"x-{number}", "y" * 100) for number in range(1000))
        stub: Any = gateway_pb2_grpc.GatewayServiceStub(system.channel)
        outcome = await got(stub.ListJobs(pb.ListJobsRequest(), metadata=flood, timeout=10))
        assert LEDGER.note("sizes", "1,000 metadata entries, 100 kB", outcome) == "RESOURCE_EXHAUSTED"
        assert await got(bearer(system).page()) == "OK"


# Clients that hold on


async def test_a_connection_that_says_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "HANDSHAKE_SECONDS", 1)
    async with running() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.server.port)
        async with asyncio.timeout(30):
            # The server's own settings, then the end.
            while await reader.read(1000):
                pass
        writer.close()
        assert await call(served.channel, "unary") == ["fake"]
    LEDGER.note("slow clients", "a connection that says nothing", "closed after the handshake's time (10 s)")


def frames(path: str) -> bytes:
    """What a client sends that begins a call and then says no more: HTTP/2's preface, settings, and headers."""

    def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload

    def literal(name: str, value: str) -> bytes:
        return b"\x00" + b"".join(bytes((len(text),)) + text.encode() for text in (name, value))

    headers = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "x"}
    headers |= {"content-type": "application/grpc", "te": "trailers"}
    block = b"".join(literal(name, value) for name, value in headers.items())
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 4, 1, block)


@pytest.mark.parametrize("method", ["wanworker.v1.EnhancerService/GetStatus", "grpc.health.v1.Health/Check"])
async def test_a_call_whose_request_never_comes_is_answered(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    monkeypatch.setattr(server_module, "REQUEST_SECONDS", 0.5)
    async with running() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.server.port)
        writer.write(frames(f"/{method}"))
        said = b""
        async with asyncio.timeout(30):
            while b"REQUEST_LATE" not in said and b"grpc-status" not in said:
                more = await reader.read(4096)
                assert more, said
                said += more
        writer.close()

        # A handler may take longer than a request.
        async def slowly(_: object) -> None:
            await asyncio.sleep(1)

        served.service.servicer.action = slowly
        assert await call(served.channel, "unary", timeout=30) == ["fake"]
    assert b"the request did not arrive within 0.5 s of its headers" in said
    if method.startswith("wanworker"):
        LEDGER.note("slow clients", "headers without a request", "DEADLINE_EXCEEDED (REQUEST_LATE) after 30 s")


async def test_a_call_that_ends_without_a_request_is_answered(tmp_path: Path) -> None:
    async def nothing() -> AsyncIterator[bytes]:
        return
        yield b""

    async with running() as served:
        late: Any = served.channel.stream_unary("/wanworker.v1.EnhancerService/GetStatus")
        outcome = await got(late(nothing(), timeout=30))
    assert LEDGER.note("sizes", "a call that ends without a request", outcome) == "INVALID_ARGUMENT (BAD_MESSAGE)"


async def test_a_connection_holds_so_many_calls() -> None:
    reached: list[object] = []

    async def hang(context: object) -> None:
        reached.append(context)
        await asyncio.Event().wait()

    async with running(FakeService(FakeEnhancer(hang)), shutdown_grace_seconds=0.0) as served:
        calls = [start_call(served.channel, "generator") for _ in range(MAX_STREAMS + 20)]
        await until(lambda: len(reached) == MAX_STREAMS, seconds=30)
        await asyncio.sleep(0.3)
        assert len(reached) == MAX_STREAMS
        # Another connection is served.
        async with grpc.aio.insecure_channel(served.server.address, [("grpc.use_local_subchannel_pool", 1)]) as other:
            health = health_pb2_grpc.HealthStub(other)
            assert await got(health.Check(health_pb2.HealthCheckRequest())) == "OK"
        for one in calls:
            one.cancel()
    LEDGER.note("slow clients", f"{MAX_STREAMS + 20} idle calls on one connection", f"{MAX_STREAMS} begin, 20 wait")


async def test_a_client_that_pings_too_often_is_sent_away() -> None:
    async with running(FakeService(FakeEnhancer(lambda _: asyncio.Event().wait()))) as served:  # type: ignore[arg-type,return-value]
        options = [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.keepalive_time_ms", 1000),
            ("grpc.http2.max_pings_without_data", 0),
        ]
        async with grpc.aio.insecure_channel(served.server.address, options) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(channel, "generator", timeout=60)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    details = caught.value.details()
    assert details == "Too many pings"
    LEDGER.note("slow clients", "a ping a second", f"UNAVAILABLE ({details})")


# The document


async def test_the_table_in_the_document_is_this(request: pytest.FixtureRequest) -> None:
    here = [item for item in request.session.items if item.path == request.node.path]
    functions = {name for name in globals() if name.startswith("test_")}
    if {item.name.split("[")[0] for item in here} != functions or not {item.name for item in here} <= TRIED:
        pytest.skip("only some of the attempts were made")
    LEDGER.check()
