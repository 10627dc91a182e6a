"""A GGUF model in memory, by way of llama.cpp. Synchronous; knows neither queues nor asyncio.

Everything weakly typed of llama-cpp-python stays in here. Its low-level interface is used rather than its
`Llama` class, because that class
- sends the whole process's stdout and stderr to /dev/null while it loads: other threads' log lines are lost;
- reuses whatever the previous prompt left in the KV cache. The rest of the prompt is then computed in another
  batch size, which moves the logits (by 0.02 with the demo model), so that one seed may give two texts. Here only
  the instructions are kept, which are always computed by themselves, so that nothing depends on what came before;
- can't be stopped while it reads the prompt, which takes a 7B model on a CPU half a minute.
"""

import codecs
import ctypes
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jinja2
from llama_cpp import llama_cpp as lib
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from wanworker.enhancer import llama_log, prompting
from wanworker.enhancer.cancellation import Cancellation
from wanworker.enhancer.cpu import default_threads
from wanworker.enhancer.errors import ModelBrokenError, ModelFailedError, PromptTooLongError, WritingCancelled
from wanworker.enhancer.model import FinishReason, Sampling, Written
from wanworker.enhancer.sampler import LikeliestOnGpu, Sampler

BATCH_TOKENS = 512
"""Prompt tokens that are computed together."""
SMALL_MODEL_BYTES = 100 * 1000 * 1000
"""Models below this size run on one thread unless told otherwise."""

# bool (*)(void *) that is true for a raised `Cancellation`. A Python function here would make llama.cpp's
# threads wait for the interpreter lock between any two operators; libc's strlen needs no lock: the flag is
# "" or "\1".
ABORT_CALLBACK = ctypes.cast(ctypes.CDLL(None).strlen, lib.ggml_abort_callback)
_NO_CALLBACK = lib.ggml_abort_callback(0)
_ABORTED = 2
# glibc keeps what was freed in small pieces, such as a vocabulary: 33 MB with Qwen2's. Other C libraries have no need.
_TRIM: Any = getattr(ctypes.CDLL(None), "malloc_trim", None)


@dataclass(frozen=True)
class EngineOptions:
    """How a model is loaded."""

    context_tokens: int
    """Tokens that instructions, prompt and answer share; no more than the model was trained for are used."""
    threads: int | None
    """CPU threads; None chooses by the machine and the model's size."""
    gpu_layers: int
    """Layers on the GPU; -1 is all."""
    prompt_style: Literal["auto", "chat", "completion"]
    """Whether the model is talked to or goes on from examples; `auto` asks the file."""


class LlamaEngine:
    """A model and one context. Not thread-safe.

    Raises:
        ModelBrokenError: llama.cpp can't load the file, or its chat template can't be used.
    """

    def __init__(self, path: Path, options: EngineOptions) -> None:
        self._path = str(path)
        self._stack = ExitStack()
        self.tokens_sampled = 0
        """Tokens chosen since the model was loaded."""
        self.tokens_read = 0
        """Tokens computed since the model was loaded: those of prompts, less what was reused, and those written."""
        self._opening_kept = False
        try:
            self._load(path, options)
        except BaseException:
            self._stack.close()
            raise

    @property
    def context_tokens(self) -> int:
        """Tokens that the context holds."""
        return self._context_tokens

    @property
    def is_chat(self) -> bool:
        """Whether the model is talked to by its template."""
        return self._template is not None

    def close(self) -> None:
        """Free the memory, and give it back to the system. Doing it twice is fine."""
        self._stack.close()
        if _TRIM is not None:
            _TRIM(0)

    def write(
        self, prompt: str, sampling: Sampling, cancellation: Cancellation, on_text: Callable[[str], None]
    ) -> Written:
        """Write an answer to the prompt.

        The same prompt and sampling give the same text, whatever was written before: the context holds nothing but
        the instructions at the start, and the prompt is always computed in the same batches.

        Args:
            prompt: The user's words.
            sampling: How tokens are chosen.
            cancellation: Stops the writing within a token, also while the prompt is being read.
            on_text: Called in this thread with whole characters, never with none.

        Raises:
            PromptTooLongError: It does not fit.
            WritingCancelled: The flag was raised.
            ModelFailedError: llama.cpp gave up.
        """
        tokens = self._prompt_tokens(prompt)
        limit = self._context_tokens - sampling.max_tokens
        if len(tokens) > limit:
            raise PromptTooLongError(len(tokens), limit, self._context_tokens)
        with self._cancelled_by(cancellation), closing(Sampler(self._vocab, sampling, self._path)) as sampler:
            if self._computes_alone:
                self._likeliest_on_gpu.find(sampler.likeliest)
            return self._write(tokens, sampling, sampler, cancellation, on_text)

    def _write(
        self,
        tokens: Sequence[int],
        sampling: Sampling,
        sampler: Sampler,
        cancellation: Cancellation,
        on_text: Callable[[str], None],
    ) -> Written:
        text = _Text(on_text, stop="" if self.is_chat else prompting.STOP)
        started = time.perf_counter()
        first_token = 0.0
        llama_log.recent_errors.clear()
        reused = self._read_prompt(tokens, cancellation)
        written, reason = 0, FinishReason.LENGTH
        while written < sampling.max_tokens:
            if cancellation.cancelled:
                raise WritingCancelled
            token = sampler.sample(self._context)
            self.tokens_sampled += 1
            first_token = first_token or time.perf_counter() - started
            if lib.llama_vocab_is_eog(self._vocab, token):
                reason = FinishReason.STOP
                break
            written += 1
            more = written < sampling.max_tokens
            if more and self._computes_alone:
                self._read([token], cancellation)
            if not text.add(self._piece(token)):
                reason = FinishReason.STOP
                break
            if more and not self._computes_alone:
                self._read([token], cancellation)
        seconds = time.perf_counter() - started
        return Written(text.finish(), len(tokens), reused, written, reason, first_token, seconds)

    def _read_prompt(self, tokens: Sequence[int], cancellation: Cancellation) -> int:
        """Make the prompt all that the context holds; returns how many tokens of it were there already."""
        opening = self._opening
        # A prompt whose first word melts into the opening's last token does not begin like the others.
        if not opening or len(tokens) <= len(opening) or tokens[: len(opening)] != opening:
            opening = []
        memory = lib.llama_get_memory(self._context)
        # False where a model's memory cannot be cut, such as a recurrent one's: then it is computed anew.
        if opening and self._opening_kept and lib.llama_memory_seq_rm(memory, 0, len(opening), -1):
            self._read(tokens[len(opening) :], cancellation)
            return len(opening)
        self._opening_kept = False
        lib.llama_memory_clear(memory, True)
        self._read(opening, cancellation)
        self._opening_kept = bool(opening)
        self._read(tokens[len(opening) :], cancellation)
        return 0

    def _read(self, tokens: Sequence[int], cancellation: Cancellation) -> None:
        """Append tokens to the context, in batches."""
        for start in range(0, len(tokens), BATCH_TOKENS):
            batch = tokens[start : start + BATCH_TOKENS]
            array = (lib.llama_token * len(batch))(*batch)
            code = lib.llama_decode(self._context, lib.llama_batch_get_one(array, len(batch)))
            if code == _ABORTED or cancellation.cancelled:
                raise WritingCancelled
            if code != 0:
                raise ModelFailedError(self._path, _last_error(f"llama_decode returned {code}"))
            self.tokens_read += len(batch)

    @contextmanager
    def _cancelled_by(self, cancellation: Cancellation) -> Iterator[None]:
        lib.llama_set_abort_callback(self._context, ABORT_CALLBACK, ctypes.c_void_p(cancellation.address))
        try:
            yield
        finally:
            # The flag's memory may be gone after this call.
            lib.llama_set_abort_callback(self._context, _NO_CALLBACK, ctypes.c_void_p(0))

    # Loading

    def _load(self, path: Path, options: EngineOptions) -> None:
        llama_log.install()
        llama_log.recent_errors.clear()
        lib.llama_backend_init()
        model_params = lib.llama_model_default_params()
        model_params.n_gpu_layers = _gpu_layers(options.gpu_layers)
        self._model: Any = lib.llama_model_load_from_file(str(path).encode(), model_params)
        if not self._model:
            raise ModelBrokenError(self._path, _last_error("llama.cpp can't load it"))
        self._stack.callback(lib.llama_model_free, self._model)
        self._vocab: Any = lib.llama_model_get_vocab(self._model)
        trained = int(lib.llama_model_n_ctx_train(self._model))
        self._context_tokens = min(options.context_tokens, trained or options.context_tokens)
        # Computes after llama_decode has returned: text goes out meanwhile. On a CPU it would wait for the next token.
        self._computes_alone = model_params.n_gpu_layers > lib.llama_model_n_layer(self._model)
        self._context: Any = lib.llama_init_from_model(self._model, self._context_params(options))
        if not self._context:
            raise ModelBrokenError(self._path, _last_error("llama.cpp can't make a context"))
        self._stack.callback(lib.llama_free, self._context)
        self._likeliest_on_gpu = LikeliestOnGpu(self._context, int(lib.llama_vocab_n_tokens(self._vocab)))
        self._stack.callback(self._likeliest_on_gpu.close)
        self._load_template(options)
        self._opening = _common_start(self._prompt_tokens("a"), self._prompt_tokens("7"))

    def _context_params(self, options: EngineOptions) -> Any:
        params = lib.llama_context_default_params()
        params.n_ctx = self._context_tokens
        params.n_batch = params.n_ubatch = BATCH_TOKENS
        params.n_outputs_max = 1  # only the last token's logits are asked for; llama.cpp would keep room for a batch's
        params.n_threads = params.n_threads_batch = options.threads or self._threads()
        return params

    def _threads(self) -> int:
        # Threads wait for each other in a busy loop after each operator, and a small model's operators are far
        # shorter than a time slice. The demo model gains a third from a second thread on two idle cores, and
        # becomes up to fifteen times slower on two busy ones.
        return 1 if lib.llama_model_size(self._model) < SMALL_MODEL_BYTES else default_threads()

    def _load_template(self, options: EngineOptions) -> None:
        source = self._metadata("tokenizer.chat_template")
        self._template: Jinja2ChatFormatter | None = None
        self._system_role = True
        if options.prompt_style == "completion" or (options.prompt_style == "auto" and not source):
            return
        if not source:
            raise ModelBrokenError(self._path, "it has no chat template and prompt_style is `chat`")
        bos, eos = (self._token_text(token(self._vocab)) for token in (lib.llama_vocab_bos, lib.llama_vocab_eos))
        try:
            self._template = Jinja2ChatFormatter(template=source, bos_token=bos, eos_token=eos)
            try:
                self._render("a cat")
            except (ValueError, jinja2.TemplateError):
                # Gemma's template, for one, refuses the role.
                self._system_role = False
                self._render("a cat")
        except Exception as error:  # a template is somebody else's code, and may fail in any way
            raise ModelBrokenError(self._path, f"its chat template fails: {error}") from error

    # Tokens

    def _render(self, prompt: str) -> str:
        assert self._template is not None
        messages: Any = prompting.chat_messages(prompt, system_role=self._system_role)
        return str(self._template(messages=messages).prompt)

    def _prompt_tokens(self, prompt: str) -> list[int]:
        if self._template is None:
            return self._tokenize(prompting.few_shot(prompt), add_special=True, parse_special=False)
        # A template writes its own BOS token, if the model has one.
        if self._tokenize(prompt, add_special=False, parse_special=True) == self._tokenize(
            prompt, add_special=False, parse_special=False
        ):
            return self._tokenize(self._render(prompt), add_special=False, parse_special=True)
        # The user's words hold the name of a control token: it must stay text and not end their turn.
        mark = "\ue000"
        before, _, after = self._render(mark).partition(mark)
        return [
            *self._tokenize(before, add_special=False, parse_special=True),
            *self._tokenize(prompt.strip(), add_special=False, parse_special=False),
            *self._tokenize(after, add_special=False, parse_special=True),
        ]

    def _tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        raw = text.encode()
        room = len(raw) + 8  # no token is shorter than a byte; BOS and EOS may be added
        tokens = (lib.llama_token * room)()
        count = lib.llama_tokenize(self._vocab, raw, len(raw), tokens, room, add_special, parse_special)
        if count < 0:
            raise ModelFailedError(self._path, f"llama_tokenize returned {count}")
        return list(tokens[:count])

    def _piece(self, token: int) -> bytes:
        """Return the token's bytes, of which characters may begin in one token and end in the next."""
        size = 64
        while True:
            buffer = (ctypes.c_char * size)()
            count = lib.llama_token_to_piece(self._vocab, token, buffer, size, 0, False)
            if count >= 0:
                return buffer.raw[:count]
            size = -count

    def _token_text(self, token: int) -> str:
        if token < 0:  # the model has none
            return ""
        text: bytes = lib.llama_vocab_get_text(self._vocab, token)
        return text.decode("utf-8", "replace")

    def _metadata(self, key: str) -> str:
        size = 0
        while True:
            buffer = ctypes.create_string_buffer(size + 1)
            count = lib.llama_model_meta_val_str(self._model, key.encode(), buffer, size + 1)
            if count < 0:
                return ""
            if count <= size:
                return buffer.value.decode("utf-8", "replace")
            size = count


class _Text:
    """Puts pieces of tokens together to whole characters, up to a stop."""

    def __init__(self, on_text: Callable[[str], None], stop: str) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._on_text = on_text
        self._stop = stop
        self._parts: list[str] = []

    def add(self, piece: bytes) -> bool:
        """Take a token's bytes; returns False once the stop was met."""
        text = self._decoder.decode(piece)
        if not self._parts:
            # What comes before the first word belongs to the template, and is no stop either.
            text = text.lstrip()
        before, stop, _ = text.partition(self._stop) if self._stop else (text, "", "")
        if before:
            self._parts.append(before)
            self._on_text(before)
        return not stop

    def finish(self) -> str:
        """Return all of the text. Bytes of a character that was not finished are dropped."""
        return "".join(self._parts)


def _gpu_layers(asked: int) -> int:
    if not lib.llama_supports_gpu_offload():
        return 0
    return asked if asked >= 0 else 2**31 - 1


def _common_start(one: Sequence[int], other: Sequence[int]) -> list[int]:
    """Return the tokens that both begin with: those of the instructions, if only the prompts differ."""
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return [token for token, _ in same]


def _last_error(otherwise: str) -> str:
    """Return why llama.cpp says it failed: of several lines the first is the cause, the others pass it on."""
    return llama_log.recent_errors[0] if llama_log.recent_errors else otherwise
