"""What a run will do, drawn from its seed alone: the same seed plans the same jobs and the same kills."""

import io
import random
import uuid
from dataclasses import dataclass

from PIL import Image

from wanworker.client import SpecOptions

SERVICES = ("enhancer", "generator", "gateway")
_SIZES = ((64, 64), (96, 64), (128, 64))
_SUBJECTS = ("ball", "cube", "kite", "fish", "lamp", "boat")
_COLOURS = ("red", "green", "blue", "yellow", "white")


@dataclass(frozen=True)
class PlannedJob:
    """One job."""

    number: int
    """From 0, in the order of submission."""
    prompt: str
    """What to show."""
    options: SpecOptions
    """Everything else of the spec, its request_id included."""
    cancel_after: float | None
    """Seconds from its creation to its cancellation; None for a job that may end by itself."""
    sent_twice: bool
    """Whether two calls with the same request_id race to make it."""
    restless: bool
    """Whether its second watcher keeps leaving and coming back."""


@dataclass(frozen=True)
class PlannedKill:
    """One kill -9."""

    after_finished: int
    """It comes once so many jobs have ended, so that kills keep pace with the work on any machine."""
    delay: float
    """Seconds more."""
    service: str
    """Whom it hits."""
    down: float
    """Seconds until that one is started again."""


@dataclass(frozen=True)
class Plan:
    """A whole run."""

    seed: int
    """What it was drawn from."""
    jobs: tuple[PlannedJob, ...]
    """In the order of submission."""
    kills: tuple[PlannedKill, ...]
    """In the order of their moments."""
    services: tuple[str, ...] = SERVICES
    """Processes that run and may be hit; more gateways than one share a database."""

    @property
    def gateways(self) -> tuple[str, ...]:
        """Those of them that callers talk to."""
        return tuple(name for name in self.services if name.startswith("gateway"))


def make_plan(jobs: int, seed: int, kills: int | None = None, gateways: int = 1) -> Plan:
    """Draws a run; by default a kill for every four jobs, but at least one a process."""
    draw = random.Random(seed)
    services = (*SERVICES, *(f"gateway-{number}" for number in range(2, gateways + 1)))
    wanted = max(len(services), jobs // 4) if kills is None else kills
    planned = tuple(_job(draw, number) for number in range(jobs))
    return Plan(seed, planned, _kills(draw, jobs, wanted, services), services)


def _job(draw: random.Random, number: int) -> PlannedJob:
    options = SpecOptions(
        request_id=str(uuid.UUID(int=draw.getrandbits(128), version=4)),
        size=draw.choice(_SIZES),
        steps=draw.randint(2, 3),
        seed=draw.getrandbits(32),
        enhance=draw.random() < 0.3,
        guidance_scale=draw.choice((1.0, 4.0)),
    )
    if draw.random() < 0.4:
        options["job_type"], options["format"] = "image-fast", draw.choice(("png", "webp"))
    else:
        options["job_type"], options["fps"] = "video-fast", 12
        options["duration"] = draw.choice((0.4, 0.75))
        if draw.random() < 0.15:
            options["reference_image"] = _picture(draw)
    return PlannedJob(
        number,
        f"a {draw.choice(_COLOURS)} {draw.choice(_SUBJECTS)}, number {number}",
        options,
        cancel_after=draw.uniform(0, 4) if draw.random() < 0.1 else None,
        sent_twice=draw.random() < 0.2,
        restless=draw.random() < 0.5,
    )


def _picture(draw: random.Random) -> bytes:
    """A small PNG, every second one cut short: such a job goes on without it and says so."""
    buffer = io.BytesIO()
    Image.new("RGB", (80, 60), draw.choice(_COLOURS)).save(buffer, "PNG")
    data = buffer.getvalue()
    return data[: len(data) // 2] if draw.random() < 0.5 else data


def _kills(draw: random.Random, jobs: int, count: int, services: tuple[str, ...]) -> tuple[PlannedKill, ...]:
    """The first kills hit each process once; the last come while there is still work left to hit."""
    first = draw.sample(services, len(services))
    moments = sorted(draw.randrange(max(1, jobs * 4 // 5)) for _ in range(count))
    return tuple(
        PlannedKill(
            moment,
            draw.uniform(0, 1.5),
            first[place] if place < len(first) else draw.choice(services),
            draw.uniform(0, 1.5),
        )
        for place, moment in enumerate(moments)
    )
