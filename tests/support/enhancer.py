"""Tiny GGUF files, real ones, for tests of the enhancer: a chat model, a base model, broken ones.

The weights are random: what the models write is noise, yet llama.cpp loads and runs them like any Qwen2.
Tokens are single bytes, so that characters above ASCII come as several tokens.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar, cast

import gguf
import grpc
import numpy as np
import pytest

from wanworker.client.status import StatusDetails, status_details
from wanworker.enhancer.cancellation import Cancellation
from wanworker.enhancer.engine import EngineOptions, LlamaEngine
from wanworker.enhancer.model import Sampling, Written
from wanworker.enhancer.service import build_service
from wanworker.enhancer.settings import EnhancerSettings
from wanworker.runtime.channel import open_channel
from wanworker.runtime.server import ServiceServer
from wanworker.v1 import enhancer_pb2 as pb
from wanworker.v1 import enhancer_pb2_grpc as pb_grpc

DEMO_MODEL = Path(__file__).parents[2] / "models" / "qwen-demo" / "qwen-demo.gguf"
WIDTH = 64
HEADS = 4
LAYERS = 2
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
NO_SYSTEM_ROLE = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + CHATML
)


def byte_characters() -> list[str]:
    """Return GPT-2's printable stand-in of each byte (openai/gpt-2 `encoder.py`, bytes_to_unicode)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


def build_gguf(
    path: Path,
    *,
    chat_template: str | None = CHATML,
    seed: int = 0,
    context: int = 8192,
    endless: bool = True,
) -> Path:
    """Write a random byte-level Qwen2 model of some 200 KB to `path` and return it.

    Args:
        path: Where to write it.
        chat_template: The Jinja template, or None for a base model.
        seed: Of the weights.
        context: The trained context that the file claims, in tokens.
        endless: Whether the model never ends its answer by itself.
    """
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_name("tiny")
    writer.add_context_length(context)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(2 * WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS // 2)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10_000.0)
    _add_tokenizer(writer)
    if chat_template is not None:
        writer.add_chat_template(chat_template)
    _add_tensors(writer, np.random.default_rng(seed), endless)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer: gguf.GGUFWriter) -> None:
    tokens = [*byte_characters(), *SPECIAL_TOKENS]
    types = [gguf.TokenType.NORMAL] * 256 + [gguf.TokenType.CONTROL] * len(SPECIAL_TOKENS)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    # llama.cpp wants merges; one that can never apply keeps the model byte-level.
    writer.add_token_merges([f"{tokens[0]} {tokens[0]}"])
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_pad_token_id(tokens.index("<|endoftext|>"))
    writer.add_add_bos_token(False)


def _add_tensors(writer: gguf.GGUFWriter, random: np.random.Generator, endless: bool) -> None:
    vocabulary = 256 + len(SPECIAL_TOKENS)
    key_width = WIDTH // 2

    def add(name: str, *shape: int) -> None:
        writer.add_tensor(name, (random.standard_normal(shape) * 0.3).astype(np.float32))

    add("token_embd.weight", vocabulary, WIDTH)
    output = (random.standard_normal((vocabulary, WIDTH)) * 0.3).astype(np.float32)
    # A logit of 0 is far below the likeliest ones, which are all that top k leaves.
    output[list(_silent(endless))] = 0.0
    writer.add_tensor("output.weight", output)
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"{block}.{norm}.weight", np.ones(WIDTH, np.float32))
        for letter, width in (("q", WIDTH), ("k", key_width), ("v", key_width)):
            add(f"{block}.attn_{letter}.weight", width, WIDTH)
            add(f"{block}.attn_{letter}.bias", width)
        add(f"{block}.attn_output.weight", WIDTH, WIDTH)
        add(f"{block}.ffn_gate.weight", 2 * WIDTH, WIDTH)
        add(f"{block}.ffn_up.weight", 2 * WIDTH, WIDTH)
        add(f"{block}.ffn_down.weight", WIDTH, 2 * WIDTH)


def _silent(endless: bool) -> list[int]:
    """Return the tokens that are never written: odd bytes, and the ends if there is to be none."""
    spoken = set(b"abcdefghijklmnopqrstuvwxyz .") | set("\u00e9\u72d0".encode())
    return [
        *(byte for byte in range(256) if byte not in spoken),
        *(range(256, 256 + len(SPECIAL_TOKENS)) if endless else ()),
    ]


def hub_cache(folder: Path, repo: str, files: dict[str, bytes | Path], revision: str = "0" * 40) -> Path:
    """Lay files out as the hub's own cache does, and return the folder of the snapshot.

    The layout is that of huggingface_hub's guide "Understand caching": refs/main names a commit,
    snapshots/<commit> holds links into blobs.
    """
    root = folder / f"models--{repo.replace('/', '--')}"
    snapshot = root / "snapshots" / revision
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(revision)
    (root / "blobs").mkdir()
    for number, (name, content) in enumerate(files.items()):
        blob = root / "blobs" / f"{number:064x}"
        blob.write_bytes(content.read_bytes() if isinstance(content, Path) else content)
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).symlink_to(blob)
    return snapshot


class SlowEngine(LlamaEngine):
    """The real engine, slowed to `pause` seconds a token, and every one that was loaded is kept for the test."""

    pause: ClassVar[float] = 0.02
    loaded: ClassVar[list["SlowEngine"]] = []

    def __init__(self, path: Path, options: EngineOptions) -> None:
        super().__init__(path, options)
        self.closed = False
        self.loaded.append(self)

    def write(
        self, prompt: str, sampling: Sampling, cancellation: Cancellation, on_text: Callable[[str], None]
    ) -> Written:
        """Write as the real one does, with a pause after each piece of text."""

        def slowly(text: str) -> None:
            on_text(text)
            time.sleep(self.pause)

        return super().write(prompt, sampling, cancellation, slowly)

    def close(self) -> None:
        """Free the memory, and remember it."""
        super().close()
        self.closed = True


def server_for(model: Path | None, **settings: Any) -> ServiceServer:
    """Return a server for a model on a free port, not yet started."""
    # llama.cpp's threads wait for each other in a busy loop: a second one costs dearly where other tests run too.
    chosen = {"port": 0, "drain_pause_seconds": 0.0, "threads": 1, "context_tokens": 4096, **settings}
    server_settings = EnhancerSettings(model_path=model, **chosen)
    return ServiceServer(build_service(server_settings), server_settings)


@asynccontextmanager
async def connect(server: ServiceServer) -> AsyncIterator["pb_grpc.EnhancerServiceAsyncStub"]:
    """Open a channel to a server that was started; yields a stub."""
    async with open_channel(server.address) as channel:
        yield cast("pb_grpc.EnhancerServiceAsyncStub", pb_grpc.EnhancerServiceStub(channel))


@asynccontextmanager
async def serve(model: Path | None, **settings: Any) -> AsyncIterator["pb_grpc.EnhancerServiceAsyncStub"]:
    """Serve a model in a real server; yields a stub."""
    server = server_for(model, **settings)
    try:
        await server.start()
        async with connect(server) as stub:
            yield stub
    finally:
        await server.stop()


def request(prompt: str = "a fox", max_tokens: int = 16, **fields: Any) -> pb.EnhanceRequest:
    """Return a request of few tokens."""
    return pb.EnhanceRequest(prompt=prompt, max_tokens=max_tokens, **fields)


async def enhance(stub: "pb_grpc.EnhancerServiceAsyncStub", *arguments: Any, **fields: Any) -> list[pb.EnhanceResponse]:
    """Return all events of a call."""
    return [response async for response in stub.Enhance(request(*arguments, **fields))]


async def completed(stub: "pb_grpc.EnhancerServiceAsyncStub", *arguments: Any, **fields: Any) -> pb.EnhanceCompleted:
    """Return the last event of a call."""
    return (await enhance(stub, *arguments, **fields))[-1].completed


async def failure(stub: "pb_grpc.EnhancerServiceAsyncStub", *arguments: Any, **fields: Any) -> StatusDetails:
    """Return the status of a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await enhance(stub, *arguments, **fields)
    return status_details(caught.value)


async def status(stub: "pb_grpc.EnhancerServiceAsyncStub") -> pb.EnhancerServiceGetStatusResponse:
    """Ask how the enhancer is."""
    return await stub.GetStatus(pb.EnhancerServiceGetStatusRequest())


async def until(
    stub: "pb_grpc.EnhancerServiceAsyncStub", reached: Callable[[pb.EnhancerServiceGetStatusResponse], bool]
) -> None:
    """Wait until the status is as it should be."""
    async with asyncio.timeout(10):
        while not reached(await status(stub)):  # noqa: ASYNC110 - the server is asked as any client would ask it
            await asyncio.sleep(0.01)


async def until_idle(stub: "pb_grpc.EnhancerServiceAsyncStub") -> None:
    """Wait until no prompt is being written."""
    await until(stub, lambda now: not now.busy)


def kinds(responses: list[pb.EnhanceResponse]) -> list[str]:
    """Name the events, several deltas in a row as one."""
    names = [str(response.WhichOneof("event")) for response in responses]
    return [name for index, name in enumerate(names) if index == 0 or name != names[index - 1]]


async def first_delta(call: Any) -> None:
    """Read a stream up to its first text."""
    async for response in call:
        if response.HasField("delta"):
            return
    raise AssertionError("the stream ended without text")
