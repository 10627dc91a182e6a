"""`wanworker enhance` and `wanworker status`: what the services themselves can say."""

from contextlib import aclosing

from rich.console import Console
from rich.text import Text

from wanworker.client.cli.access import access
from wanworker.client.cli.exits import ExitCode
from wanworker.client.cli.formats import as_dict, bytes_text, print_json, size_text
from wanworker.client.cli.generate import connect
from wanworker.client.cli.summary import stdout
from wanworker.client.enhancer import AsyncEnhancer
from wanworker.client.events import EnhanceCompleted, EnhanceDelta, EnhanceLoading, EnhanceQueued
from wanworker.client.peers import EnhancerStatus, GatewayStatus, GeneratorStatus, Peer


async def enhance(
    address: str,
    prompt: str,
    *,
    max_tokens: int | None,
    temperature: float | None,
    seed: int | None,
    as_json: bool,
) -> int:
    """Types the prompt on stderr as it is written, where that is a terminal, and prints it on stdout."""
    notes = Console(stderr=True, highlight=False, soft_wrap=True)
    typing = notes.is_terminal and not as_json
    done: EnhanceCompleted | None = None
    async with AsyncEnhancer(address, credentials=access().credentials) as client:
        request = client.enhance(prompt, max_tokens=max_tokens, temperature=temperature, seed=seed)
        async with aclosing(request) as events:
            async for event in events:
                if as_json:
                    print_json(event=as_dict(event.raw))
                if isinstance(event, EnhanceCompleted):
                    done = event
                elif typing and isinstance(event, EnhanceDelta):
                    notes.print(event.text, end="", style="dim", markup=False)
                elif typing and isinstance(event, EnhanceLoading):
                    notes.print(f"loading {event.model} …", style="dim", markup=False)
                elif typing and isinstance(event, EnhanceQueued):
                    notes.print(f"waiting, {event.position} ahead", style="dim")
    assert done is not None
    if as_json:
        print_json(result=as_dict(done.raw.completed))
        return ExitCode.OK
    if typing:
        notes.print()
    stdout().print(done.prompt, markup=False)
    if notes.is_terminal:
        source = "cache" if done.cached else f"{done.duration:.1f} s"
        notes.print(f"{done.model} · {done.completion_tokens} tokens · {source} · seed {done.seed}", style="dim")
    return ExitCode.OK


async def status(address: str, *, as_json: bool) -> int:
    """Prints how the gateway and its peers are. A peer that is down makes the exit code 3."""
    async with connect(address) as client:
        answer = await client.status()
    if as_json:
        print_json(status=as_dict(answer.raw))
    else:
        for line in _lines(address, answer):
            stdout().print(line)
    reachable = answer.enhancer_peer.reachable and answer.generator_peer.reachable
    return ExitCode.OK if reachable else ExitCode.UNAVAILABLE


def _lines(address: str, answer: GatewayStatus) -> list[Text]:
    running = f"{answer.running} of {answer.max_concurrent_jobs} running"
    queue = f"{running}, {answer.queued} of {answer.queue_limit} waiting"
    return [
        _headline("gateway", address, True, f"{answer.version} · {queue}"),
        *_enhancer(answer.enhancer_peer, answer.enhancer),
        *_generator(answer.generator_peer, answer.generator),
    ]


def _headline(name: str, address: str, up: bool, text: str) -> Text:
    mark = ("● ", "green") if up else ("● ", "red")
    return Text.assemble(mark, (f"{name:<10}", "bold"), f"{address}  ", text)


def _enhancer(peer: Peer, enhancer: EnhancerStatus | None) -> list[Text]:
    if enhancer is None:
        return [_headline("enhancer", peer.address, False, peer.error or "did not answer")]
    memory = "loaded" if enhancer.loaded else "not loaded"
    busy = "busy" if enhancer.busy else "idle"
    text = f"{enhancer.version} · {enhancer.model}, {memory}, {busy}, {enhancer.queued} waiting"
    return [_headline("enhancer", peer.address, True, text)]


def _generator(peer: Peer, generator: GeneratorStatus | None) -> list[Text]:
    if generator is None:
        return [_headline("generator", peer.address, False, peer.error or "did not answer")]
    memory = f"{bytes_text(generator.free_memory_bytes)} of {bytes_text(generator.total_memory_bytes)} free"
    work = f"{generator.running} running, {generator.queued} waiting"
    lines = [_headline("generator", peer.address, True, f"{generator.version} · {generator.device}, {memory}, {work}")]
    for model in generator.models:
        marks = [size_text(*model.default_size), "default" if model.is_default else ""]
        marks.append("loaded" if model.loaded else "on disk" if model.available else "not on this machine")
        lines.append(Text(f"    {model.name:<20} {', '.join(mark for mark in marks if mark)}"))
    return lines
