"""Judges a run: every job's callers, its row and its file against each other and against the ledger."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field, replace

from tests.chaos.ledger import Ledger, Write, repeats
from tests.chaos.workload import CALL_SECONDS, Record, Workload, patiently
from wanworker.client import AsyncClient, Job, JobState, WanworkerError

_LESS_THAN_ASKED = ("ENHANCER_", "BAD_REFERENCE_IMAGE")


@dataclass
class Verdict:
    """What came of a run."""

    jobs: int
    """How many were wanted."""
    outcomes: Counter[str] = field(default_factory=Counter)
    """How they ended: succeeded, degraded, failed, cancelled, unfinished."""
    failures: Counter[str] = field(default_factory=Counter)
    """Failed jobs by reason."""
    warnings: Counter[str] = field(default_factory=Counter)
    """Warnings and rungs on jobs, by name."""
    lost: list[str] = field(default_factory=list)
    """Jobs without exactly one end, or without the file that they promise."""
    doubled: list[str] = field(default_factory=list)
    """Jobs made twice, or with something finished done again."""
    missed: list[str] = field(default_factory=list)
    """Watchers that were not told everything, or something wrong."""
    events: int = 0
    """Events that all watchers were sent."""
    watches: int = 0
    """Watches that were begun on the bare stub."""
    retried: int = 0
    """Jobs that took more than one attempt."""

    @property
    def good(self) -> bool:
        """Whether nothing was lost, doubled or missed."""
        return not (self.lost or self.doubled or self.missed)

    @property
    def line(self) -> str:
        """The last line of a run. Faults are counted by job, once each."""
        told = {"lost": self.lost, "doubled": self.doubled, "missed": self.missed}
        faults = " ".join(f"{name}={len({entry.split(':')[0] for entry in found})}" for name, found in told.items())
        ended = " ".join(f"{name}={self.outcomes[name]}" for name in ("succeeded", "degraded", "failed"))
        return f"jobs={self.jobs} {ended} {faults}"


async def audit(workload: Workload, address: str, ledger: Ledger) -> Verdict:
    """Looks at everything once the system is at rest."""
    verdict = Verdict(len(workload.records))
    writes = ledger.writes()
    async with AsyncClient(address) as client:
        listed = await patiently(lambda: _all_jobs(client))
        for record in workload.records:
            await _judge(client, record, listed, writes, verdict)
    for sight in (sight for record in workload.records for sight in record.sights):
        verdict.events += sight.events
        verdict.watches += sight.watches if sight.watcher == "stub" else 0
    return verdict


async def _all_jobs(client: AsyncClient) -> dict[str, list[str]]:
    """Ids by request_id."""
    found: dict[str, list[str]] = {}
    async for job in client.list(page_size=500):
        found.setdefault(job.spec.request_id, []).append(job.id)
    return found


async def _judge(
    client: AsyncClient, record: Record, listed: dict[str, list[str]], writes: dict[str, list[Write]], verdict: Verdict
) -> None:
    ids = record.job_ids | set(listed.get(record.plan.options["request_id"], ()))
    name = f"job {record.plan.number} ({', '.join(sorted(ids)) or 'never made'})"
    verdict.lost += [f"{name}: {error}" for error in record.errors]
    if len(ids) != 1:
        (verdict.doubled if ids else verdict.lost).append(f"{name}: {len(ids)} jobs of one request_id")
    for job_id in ids:
        job = await patiently(lambda job_id=job_id: client.get(job_id, timeout=CALL_SECONDS))  # type: ignore[misc]
        verdict.lost += [f"{name}: {fault}" for fault in await _loss(client, job, writes.get(job_id, []))]
        verdict.doubled += [f"{name}: {fault}" for fault in repeats(writes.get(job_id, []))]
        verdict.missed += [f"{name}: {fault}" for fault in _misses(record, job)]
        _count(job, verdict)


async def _loss(client: AsyncClient, job: Job, writes: list[Write]) -> list[str]:
    if not job.state.is_final:
        return [f"still {job.state.name}"]
    if not any(write.ends for write in writes):
        return ["no final state was ever written"]
    if job.state is JobState.FAILED and (job.failure is None or not job.failure.reason):
        return ["failed without a reason"]
    if job.state is not JobState.SUCCEEDED:
        return []
    try:
        file = await patiently(lambda: _file(client, job.id))
    except WanworkerError as error:
        return [f"its file cannot be read: {error}"]
    if job.artifact is None or hashlib.sha256(file).digest() != job.artifact.sha256:
        return ["its file is not the one that was promised"]
    return []


async def _file(client: AsyncClient, job_id: str) -> bytes:
    return b"".join([piece async for piece in client.read(job_id)])


def _misses(record: Record, job: Job) -> list[str]:
    found = []
    for sight in record.sights:
        who = f"{sight.watcher} watcher"
        found += [f"{who}: {fault}" for fault in sight.faults]
        if sight.final is None:
            found.append(f"{who}: never got a final snapshot")
        elif _told(sight.final) != _told(job):
            found.append(f"{who}: its final snapshot is not the job that is stored")
    return found


def _told(job: Job) -> Job:
    """A job as events tell it: without the bytes of its reference image."""
    return replace(job, spec=replace(job.spec, reference_image=None))


def _count(job: Job, verdict: Verdict) -> None:
    reasons = [warning.reason for warning in job.warnings]
    rungs = [each.rung for each in job.degradations]
    verdict.warnings.update([*reasons, *rungs])
    verdict.retried += job.attempts > 1
    outcome = job.state.name.lower() if job.state.is_final else "unfinished"
    if outcome == "succeeded" and (rungs or any(reason.startswith(_LESS_THAN_ASKED) for reason in reasons)):
        outcome = "degraded"
    verdict.outcomes[outcome] += 1
    if job.failure is not None:
        verdict.failures[job.failure.reason] += 1
