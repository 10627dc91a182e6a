"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer

from wanworker.client.cli.parsing import choice, parse_duration, parse_image, parse_size, words
from wanworker.client.connection import DEFAULT_GATEWAY
from wanworker.client.enums import DegradationPolicy, JobType, OnBadReference, Quality
from wanworker.client.spec import SpecOptions

Prompt = Annotated[str, typer.Argument(help="What to show.", show_default=False)]
JobId = Annotated[str, typer.Argument(help="The job's id.", show_default=False)]
Address = Annotated[
    str, typer.Option("--address", "-a", envvar="WANWORKER_GATEWAY_ADDRESS", help="The gateway, host:port.")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON lines on stdout, the result last.")]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="File to write: .mp4, or .png or .webp for a still; or a folder.",
        show_default="the job's own name, here",
    ),
]
Type = Annotated[
    Any,
    typer.Option(
        "--job-type",
        "-t",
        parser=choice(JobType),
        metavar=words(JobType),
        help="What to make.",
        show_default="video-fast",
    ),
]
Preset = Annotated[
    Any,
    typer.Option(
        "--quality",
        "-q",
        parser=choice(Quality),
        metavar=words(Quality),
        help="Preset.",
        show_default="the job type's",
    ),
]
Size = Annotated[
    Any,
    typer.Option(
        "--size",
        "-s",
        parser=parse_size,
        metavar="WxH",
        help="256x144, for example.",
        show_default="the model's",
    ),
]
Length = Annotated[
    Any,
    typer.Option("--duration", "-d", parser=parse_duration, metavar="TIME", help="2s, for example.", show_default="5s"),
]
Fps = Annotated[int | None, typer.Option(help="Frames a second, 12 to 24.", show_default="the preset's")]
Steps = Annotated[int | None, typer.Option(help="Denoising steps.", show_default="the preset's")]
Guidance = Annotated[
    float | None,
    typer.Option("--guidance", help="Guidance scale, 1 to 20; 1 is off.", show_default="the preset's"),
]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed: the same makes the same.", show_default="drawn")]
Negative = Annotated[str, typer.Option("--negative", help="What to keep out.", show_default=False)]
Image = Annotated[
    Any,
    typer.Option("--image", "-i", parser=parse_image, metavar="FILE|URL", help="First frame.", show_default=False),
]
NoEnhance = Annotated[bool, typer.Option("--no-enhance", help="Take the prompt as it is.")]
Model = Annotated[str, typer.Option("--model", "-m", help="Model's name.", show_default="the generator's")]
BadReference = Annotated[
    Any,
    typer.Option(
        "--on-bad-reference",
        parser=choice(OnBadReference),
        metavar=words(OnBadReference),
        help="What to do if the image cannot be used.",
        show_default="text-to-video",
    ),
]
Degrade = Annotated[
    Any,
    typer.Option(
        "--degradation",
        parser=choice(DegradationPolicy),
        metavar=words(DegradationPolicy),
        help="How far quality may fall when memory runs out.",
        show_default="allowed",
    ),
]


Tls = Annotated[bool, typer.Option("--tls", envvar="WANWORKER_TLS", help="Use TLS; --ca does so too.")]
Ca = Annotated[
    Path | None,
    typer.Option(
        "--ca", envvar="WANWORKER_CA", help="PEM file of authorities to trust.", show_default="those that gRPC brings"
    ),
]
Certificate = Annotated[
    Path | None,
    typer.Option(
        "--certificate", envvar="WANWORKER_CERTIFICATE", help="PEM file of our certificate (mTLS).", show_default=False
    ),
]
Key = Annotated[
    Path | None,
    typer.Option("--key", envvar="WANWORKER_KEY", help="PEM file of that certificate's key.", show_default=False),
]


def address_or_default(address: str) -> str:
    """Returns the address that was given, or the usual one."""
    return address or DEFAULT_GATEWAY


def spec_options(
    *,
    job_type: JobType | None,
    quality: Quality | None,
    size: tuple[int, int] | None,
    duration: float | None,
    fps: int | None,
    steps: int | None,
    guidance: float | None,
    seed: int | None,
    negative: str,
    image: bytes | str | None,
    no_enhance: bool,
    model: str,
    on_bad_reference: OnBadReference | None,
    degradation: DegradationPolicy | None,
) -> SpecOptions:
    """Returns the client's arguments for what was typed; what was not typed stays away."""
    options = SpecOptions(
        job_type=job_type,
        quality=quality,
        size=size,
        duration=duration,
        fps=fps,
        steps=steps,
        guidance_scale=guidance,
        seed=seed,
        reference_image=image,
        on_bad_reference=on_bad_reference,
        degradation=degradation,
        negative_prompt=negative,
        model=model,
    )
    if no_enhance:
        options["enhance"] = False
    return options
