"""The command line `wanworker`.

Exit codes: 0 done, 1 the job or the call failed, 2 an option or a field is not as it should be, 3 nobody
there or not ready, 130 interrupted by Ctrl-C (143 by SIGTERM). With `--json`, stdout holds one JSON object a
line: `{"event": …}` as things happen, then `{"result": …}` or `{"error": …}`; messages are protobuf's JSON
mapping with snake_case names.
"""

from pathlib import Path
from typing import Annotated

import typer

from wanworker.client import __version__
from wanworker.client.cli import jobs, keys, services
from wanworker.client.cli import options as o
from wanworker.client.cli.access import Access, show
from wanworker.client.cli.demo import demo as run_demo
from wanworker.client.cli.doctor import doctor as run_doctor
from wanworker.client.cli.generate import connect
from wanworker.client.cli.generate import generate as run_generate
from wanworker.client.cli.parsing import output_format
from wanworker.client.cli.session import no_gateway, run
from wanworker.client.cli.stack import StackOptions
from wanworker.client.cli.summary import print_estimate
from wanworker.client.cli.up import up as run_up
from wanworker.client.connection import DEFAULT_ENHANCER, DEFAULT_GATEWAY

_EXIT_CODES = "Exit codes: 0 done, 1 failed, 2 bad option or field, 3 nobody there or not ready, 130 interrupted."

app = typer.Typer(
    name="wanworker",
    help="Videos and stills from prompts. An API key is read from WANWORKER_API_KEY.",
    epilog=_EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(jobs.app, name="jobs")
app.add_typer(keys.app, name="keys")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"wanworker-client {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    tls: o.Tls = False,
    ca: o.Ca = None,
    certificate: o.Certificate = None,
    key: o.Key = None,
) -> None:
    """Videos and stills from prompts. An API key is read from WANWORKER_API_KEY."""
    if (certificate is None) != (key is None):
        raise typer.BadParameter("--certificate and --key go together")
    show(Access(tls=tls, ca=ca, certificate=certificate, key=key))


@app.command()
def generate(
    prompt: o.Prompt,
    output: o.Output = None,
    job_type: o.Type = None,
    quality: o.Preset = None,
    size: o.Size = None,
    duration: o.Length = None,
    fps: o.Fps = None,
    steps: o.Steps = None,
    guidance: o.Guidance = None,
    seed: o.Seed = None,
    negative: o.Negative = "",
    image: o.Image = None,
    no_enhance: o.NoEnhance = False,
    model: o.Model = "",
    on_bad_reference: o.BadReference = None,
    degradation: o.Degrade = None,
    address: o.Address = DEFAULT_GATEWAY,
    as_json: o.AsJson = False,
) -> None:
    """Make a video or a still. Ctrl-C cancels it on the device."""
    spec = o.spec_options(
        job_type=job_type, quality=quality, size=size, duration=duration, fps=fps, steps=steps, guidance=guidance,
        seed=seed, negative=negative, image=image, no_enhance=no_enhance, model=model,
        on_bad_reference=on_bad_reference, degradation=degradation,
    )  # fmt: skip
    spec["format"] = output_format(output, job_type)
    run(
        lambda: run_generate(address, prompt, spec, output, as_json=as_json),
        name="wanworker generate",
        as_json=as_json,
        nobody=no_gateway(address),
    )


@app.command()
def estimate(
    prompt: o.Prompt,
    job_type: o.Type = None,
    quality: o.Preset = None,
    size: o.Size = None,
    duration: o.Length = None,
    fps: o.Fps = None,
    steps: o.Steps = None,
    guidance: o.Guidance = None,
    image: o.Image = None,
    no_enhance: o.NoEnhance = False,
    model: o.Model = "",
    address: o.Address = DEFAULT_GATEWAY,
    as_json: o.AsJson = False,
) -> None:
    """Say what a job would be resolved to and cost, without making it."""
    spec = o.spec_options(
        job_type=job_type,
        quality=quality,
        size=size,
        duration=duration,
        fps=fps,
        steps=steps,
        guidance=guidance,
        seed=None,
        negative="",
        image=image,
        no_enhance=no_enhance,
        model=model,
        on_bad_reference=None,
        degradation=None,
    )

    async def work() -> int:
        async with connect(address) as client:
            print_estimate(await client.estimate(prompt, **spec), as_json=as_json)
        return 0

    run(work, name="wanworker estimate", as_json=as_json, nobody=no_gateway(address))


@app.command()
def enhance(
    prompt: o.Prompt,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens to write at most.", show_default="200")] = None,
    temperature: Annotated[
        float | None, typer.Option(help="0 always takes the likeliest word.", show_default="0.7")
    ] = None,
    seed: o.Seed = None,
    address: Annotated[
        str,
        typer.Option("--address", "-a", envvar="WANWORKER_ENHANCER_ADDRESS", help="The enhancer, host:port."),
    ] = DEFAULT_ENHANCER,
    as_json: o.AsJson = False,
) -> None:
    """Rewrite a prompt, and make nothing of it. Asks the enhancer directly."""
    run(
        lambda: services.enhance(
            address, prompt, max_tokens=max_tokens, temperature=temperature, seed=seed, as_json=as_json
        ),
        name="wanworker enhance",
        as_json=as_json,
        nobody=f"no enhancer at {address}: start one with `wanworker up`",
    )


@app.command()
def status(address: o.Address = DEFAULT_GATEWAY, as_json: o.AsJson = False) -> None:
    """Show how the gateway, its queue and its peers are; exit code 3 if one is down."""
    run(
        lambda: services.status(address, as_json=as_json),
        name="wanworker status",
        as_json=as_json,
        nobody=no_gateway(address),
    )


@app.command()
def doctor(address: o.Address = DEFAULT_GATEWAY, as_json: o.AsJson = False) -> None:
    """Look at versions, GPU, models, disk, ports and peers; exit code 1 if something is broken."""
    run(
        lambda: run_doctor(address, as_json=as_json),
        name="wanworker doctor",
        as_json=as_json,
        nobody=no_gateway(address),
    )


@app.command()
def up(
    demo: Annotated[bool, typer.Option("--demo", help="Use the bundled demo models.")] = False,
    models_dir: Annotated[
        Path | None, typer.Option(help="Where the demo models are.", show_default="models/ of the checkout")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Gateway; 0 picks a free one.")] = 50051,
    enhancer_port: Annotated[int, typer.Option(min=0, max=65535, help="Enhancer.")] = 50052,
    generator_port: Annotated[int, typer.Option(min=0, max=65535, help="Generator.")] = 50053,
    data_dir: Annotated[Path | None, typer.Option(help="Jobs and files.", show_default="the gateway's default")] = None,
) -> None:
    """Run enhancer, generator and gateway in the foreground. Ctrl-C drains them, a second one kills them."""
    options = StackOptions(
        demo=demo,
        models_dir=models_dir,
        gateway_port=port,
        enhancer_port=enhancer_port,
        generator_port=generator_port,
        data_dir=data_dir,
    )
    run(lambda: run_up(options), name="wanworker up")


@app.command()
def demo(
    prompt: o.Prompt = "a red ball bounces across a green meadow at sunset",
    output: o.Output = Path("demo.mp4"),
    seed: o.Seed = None,
    models_dir: Annotated[
        Path | None, typer.Option(help="Where the demo models are.", show_default="models/ of the checkout")
    ] = None,
) -> None:
    """Start the three services on the demo models, make one video, stop them."""
    output_format(output, None)
    run(lambda: run_demo(prompt, output, seed=seed, models_dir=models_dir), name="wanworker demo")
