"""Which token is drawn: by llama.cpp's own chain, to which ours must come sooner and with the same result."""

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from llama_cpp import llama_cpp as lib

from wanworker.enhancer.engine import PENALTY_WINDOW, _Sampler
from wanworker.enhancer.model import Sampling

VOCABULARY = 3000


@contextmanager
def chain_of(links: Sequence[Any]) -> Iterator[Any]:
    chain: Any = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
    for link in links:
        lib.llama_sampler_chain_add(chain, link)
    yield chain
    lib.llama_sampler_free(chain)


def draw(chain: Any, logits: Any) -> int:
    """The token that the chain takes; it is told of it, as penalties want."""
    entries = [lib.llama_token_data(token, logit, 0.0) for token, logit in enumerate(logits)]
    array = (lib.llama_token_data * VOCABULARY)(*entries)
    candidates = lib.llama_token_data_array(array, VOCABULARY, -1, False)
    lib.llama_sampler_apply(chain, ctypes.byref(candidates))
    token = int(candidates.data[candidates.selected].id)
    lib.llama_sampler_accept(chain, token)
    return token


@pytest.mark.parametrize(("temperature", "top_k"), [(0.0, 40), (0.7, 40), (1.5, 5), (1.5, 0)])
@pytest.mark.parametrize("repeat_penalty", [1.0, 1.05, 1.8])
def test_what_is_picked_first_changes_no_token(temperature: float, top_k: int, repeat_penalty: float) -> None:
    sampling = Sampling(200, temperature, 3, top_k, 0.9, 0.05, repeat_penalty)
    first, *plain = _Sampler._links(VOCABULARY, sampling)
    generator = np.random.default_rng(0)
    likely = generator.normal(0, 3, VOCABULARY)  # the same tokens come again, so that many are penalised
    with chain_of(plain) as slow, chain_of([first, *_Sampler._links(VOCABULARY, sampling)[1:]]) as fast:
        logits = [(likely + generator.normal(0, 0.7, VOCABULARY)).tolist() for _ in range(2 * PENALTY_WINDOW)]
        drawn = [draw(fast, each) for each in logits]
        assert drawn == [draw(slow, each) for each in logits]
    assert len(set(drawn)) > 1
