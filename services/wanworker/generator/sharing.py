"""Modules that several jobs use at once, each through an object of its own.

What a run changes on a module lies in three places: the transformer's cache hooks keep state by the name of a cache
context, so each job's contexts bear its number; the autoencoder keeps its causal convolutions' features on itself, so
each job gets a shallow copy with features of its own over the same weights; everything else lives in the job's own
pipeline and scheduler.
"""

import copy
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from diffusers.hooks import FirstBlockCacheConfig

from wanworker.generator.gate import Turn

_NUMBERS = itertools.count(1)
_HOOK_ATTRIBUTE = "_diffusers_hook"


class BlockCache:
    """FirstBlockCache on a transformer, which can be switched from job to job. For the holder of the step's turn."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._installed: list[tuple[Any, Any, Any]] = []  # hook, its way, the way around it
        self._managers: list[Any] = []

    def select(self, threshold: float | None) -> None:
        """What the next forward does: recompute if the first block changed by more than `threshold`; None: always."""
        if threshold is not None and not self._installed:
            self._install(threshold)
        for hook, hooked, plain in self._installed:
            hook.fn_ref.forward = plain if threshold is None else hooked
            if threshold is not None and hasattr(hook, "threshold"):
                hook.threshold = threshold

    def forget(self, prefix: str) -> None:
        """Drops the state of the contexts whose names begin so."""
        for manager in self._managers:
            for name in [name for name in manager._state_cache if name.startswith(prefix)]:
                del manager._state_cache[name]

    def _install(self, threshold: float) -> None:
        self._module.enable_cache(FirstBlockCacheConfig(threshold))
        for block in self._module.modules():
            registry = getattr(block, _HOOK_ATTRIBUTE, None)
            for hook in registry.hooks.values() if registry else ():
                self._installed.append((hook, hook.fn_ref.forward, hook.fn_ref.original_forward))
                if hook.state_manager not in self._managers:
                    self._managers.append(hook.state_manager)


class JobTransformer:
    """One job's way to a shared transformer; a pipeline takes it for the transformer itself.

    The first forward of a step waits for the job's turn; whoever ends the step gives it back.
    """

    def __init__(
        self,
        module: Any,
        cache: BlockCache,
        turn: Turn,
        cache_threshold: float | None = None,
        on_turn: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_turn` is called at the start of each turn."""
        self.module = module
        """The transformer that all jobs share."""
        self._cache = cache
        self._turn = turn
        self._threshold = cache_threshold
        self._on_turn = on_turn
        self._prefix = f"job {next(_NUMBERS)}, "

    @property
    def config(self) -> Any:
        """Of the transformer."""
        return self.module.config

    @property
    def dtype(self) -> Any:
        """Of the transformer."""
        return self.module.dtype

    @contextmanager
    def cache_context(self, name: str, **where: Any) -> Iterator[None]:
        """The transformer's, under a name that is this job's alone."""
        self._take()
        with self.module.cache_context(self._prefix + name, **where):
            yield

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """A forward, in the job's turn."""
        self._take()
        return self.module(*args, **kwargs)

    def forget(self) -> None:
        """Drops what the cache keeps for this job."""
        self._cache.forget(self._prefix)

    def _take(self) -> None:
        if not self._turn.taken:
            self._turn.take()
            self._cache.select(self._threshold)
            self._on_turn()


def job_autoencoder(vae: Any, turn: Turn | None = None) -> Any:
    """A copy of the autoencoder for one job: the same weights, features of its own.

    With a `turn`, encoding takes it, for two at once would need the memory of two.
    """
    own = copy.copy(vae)
    own.clear_cache()
    own.use_tiling = False
    if turn is not None:
        encode = own.encode

        def encode_in_turn(*args: Any, **kwargs: Any) -> Any:
            with turn.held():
                return encode(*args, **kwargs)

        own.encode = encode_in_turn
    return own
