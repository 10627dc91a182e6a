"""Which token is chosen: by llama.cpp's own chain over the whole vocabulary, to which ours must come sooner."""

import ctypes
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import pytest
from llama_cpp import llama_cpp as lib
from numpy.typing import NDArray

from wanworker.enhancer import sampler
from wanworker.enhancer.errors import ModelFailedError
from wanworker.enhancer.model import Sampling
from wanworker.enhancer.sampler import PENALTY_WINDOW, Sampler


@pytest.fixture(autouse=True)
def vocabulary(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Tokens of a model that isn't there."""
    size = int(getattr(request, "param", 3000))
    monkeypatch.setattr(lib, "llama_vocab_n_tokens", lambda _: size)
    return size


@contextmanager
def plain_chain(vocabulary: int, sampling: Sampling) -> Iterator[Any]:
    chain: Any = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
    for link in sampler.links(vocabulary, sampling):
        lib.llama_sampler_chain_add(chain, link)
    yield chain
    lib.llama_sampler_free(chain)


def choose_of_all(chain: Any, logits: NDArray[np.float32]) -> int:
    """As `llama_sampler_sample` does."""
    entries = [lib.llama_token_data(token, logit, 0.0) for token, logit in enumerate(logits.tolist())]
    array = (lib.llama_token_data * len(entries))(*entries)
    candidates = lib.llama_token_data_array(array, len(entries), -1, False)
    lib.llama_sampler_apply(chain, ctypes.byref(candidates))
    token = int(candidates.data[candidates.selected].id)
    lib.llama_sampler_accept(chain, token)
    return token


def sampling_of(temperature: float = 0.7, top_k: int = 40, repeat_penalty: float = 1.0) -> Sampling:
    return Sampling(200, temperature, 3, top_k, 0.9, 0.05, repeat_penalty)


# Fewer tokens than columns, full columns, one token more, and more of the likeliest than there are columns.
@pytest.mark.parametrize("vocabulary", [500, 2048, 3073], indirect=True)
@pytest.mark.parametrize(("temperature", "top_k"), [(0.0, 40), (0.7, 40), (1.5, 5), (1.5, 0), (1.5, 1000)])
@pytest.mark.parametrize("repeat_penalty", [1.0, 1.05, 1.8])
def test_it_chooses_what_the_chain_chooses_from_all_tokens(
    vocabulary: int, temperature: float, top_k: int, repeat_penalty: float
) -> None:
    sampling = sampling_of(temperature, top_k, repeat_penalty)
    generator = np.random.default_rng(0)
    likely = generator.normal(0, 3, vocabulary)  # the same tokens come again, so that many are penalised
    with plain_chain(vocabulary, sampling) as chain, closing(Sampler(None, sampling, "a.gguf")) as ours:
        logits = [(likely + generator.normal(0, 0.7, vocabulary)).astype(np.float32) for _ in range(2 * PENALTY_WINDOW)]
        chosen = [ours.choose(each) for each in logits]
        assert chosen == [choose_of_all(chain, each) for each in logits]
    assert len(set(chosen)) > 1


@pytest.mark.parametrize(("temperature", "top_k"), [(0.0, 40), (0.7, 40), (1.5, 5), (1.5, 0)])
@pytest.mark.parametrize("repeat_penalty", [1.0, 1.8])
@pytest.mark.parametrize("more", [0, 100])
def test_the_likeliest_in_any_order_lead_to_the_token_that_all_lead_to(
    vocabulary: int, temperature: float, top_k: int, repeat_penalty: float, more: int
) -> None:
    sampling = sampling_of(temperature, top_k, repeat_penalty)
    generator = np.random.default_rng(0)
    likely = generator.normal(0, 3, vocabulary)
    with closing(Sampler(None, sampling, "a.gguf")) as of_all, closing(Sampler(None, sampling, "a.gguf")) as of_few:
        assert of_few.likeliest == ({0.0: 1}.get(temperature, top_k) + PENALTY_WINDOW if top_k else vocabulary)
        for _ in range(2 * PENALTY_WINDOW):
            logits = (likely + generator.normal(0, 0.7, vocabulary)).astype(np.float32)
            tokens = np.argsort(-logits)[: of_few.likeliest + more].astype(np.int32)
            generator.shuffle(tokens)
            assert of_few.choose_among(tokens, logits[tokens]) == of_all.choose(logits)


@pytest.mark.parametrize("tokens", [[0], [2999], [1023, 1024], list(range(0, 3000, 1024))])
def test_the_likeliest_are_found_wherever_they_stand(vocabulary: int, tokens: list[int]) -> None:
    logits = np.random.default_rng(1).normal(0, 1, vocabulary).astype(np.float32)
    logits[tokens] = np.linspace(50, 60, len(tokens), dtype=np.float32)
    with closing(Sampler(None, sampling_of(temperature=0.0), "a.gguf")) as ours:
        assert ours.choose(logits) == tokens[-1]


def test_a_token_that_is_not_a_number_is_never_chosen(vocabulary: int) -> None:
    logits = np.arange(vocabulary, dtype=np.float32)
    logits[-1:0:-7] = np.nan
    with closing(Sampler(None, sampling_of(temperature=0.0), "a.gguf")) as ours:
        assert ours.choose(logits) == vocabulary - 2
        assert ours.choose_among(np.arange(vocabulary, dtype=np.int32)[::-1], logits[::-1]) == vocabulary - 2


@pytest.mark.parametrize("few", [False, True])
@pytest.mark.parametrize("top_k", [0, 40])
def test_logits_that_are_no_numbers_fail_with_the_models_name(vocabulary: int, top_k: int, few: bool) -> None:
    logits = np.full(vocabulary, np.nan, np.float32)
    with (
        closing(Sampler(None, sampling_of(top_k=top_k), "a.gguf")) as ours,
        pytest.raises(ModelFailedError, match="logits are not numbers") as failure,
    ):
        ours.choose_among(np.arange(vocabulary, dtype=np.int32), logits) if few else ours.choose(logits)
    assert failure.value.metadata["path"] == "a.gguf"
