"""The generator's registry, remembered: creating a job must not depend on the generator being up at that
moment."""

import time

from wanworker.gateway.generation import ModelInfo
from wanworker.gateway.peers import GeneratorPeer, PeerError

FRESH_SECONDS = 5.0
"""How long an answer is taken for granted; models come and go with restarts of the generator only."""


class ModelCatalogue:
    """What the generator can make."""

    def __init__(self, generator: GeneratorPeer, timeout_seconds: float) -> None:
        self._generator = generator
        self._timeout = timeout_seconds
        self._models: tuple[ModelInfo, ...] = ()
        self._asked_at = float("-inf")

    async def known(self) -> tuple[ModelInfo, ...]:
        """The newest answer that there is; empty if the generator was never reached."""
        try:
            return await self.current()
        except PeerError:
            return self._models

    async def current(self) -> tuple[ModelInfo, ...]:
        """An answer that is seconds old at most. PeerError if the generator cannot be reached or has no
        models."""
        if not self._models or time.monotonic() - self._asked_at > FRESH_SECONDS:
            models = await self._generator.models(self._timeout)
            if not models:
                raise PeerError("UNAVAILABLE", "NO_MODELS", "the generator has no models")
            self._models, self._asked_at = models, time.monotonic()
        return self._models
