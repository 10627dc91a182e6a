"""Asking the enhancer: whatever goes wrong, the job goes on with its own prompt."""

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing

from wanworker.gateway.model import Happening, PromptDelta, Warning
from wanworker.gateway.peers import Enhanced, EnhancerPeer, PeerError
from wanworker.gateway.progress import ProgressMeter

LONGEST_PROMPT = 4000
"""Characters; a longer answer is the model running wild."""

PROGRESS_SECONDS = 0.25
"""Shortest time between two progress events."""


async def ask_enhancer(
    enhancer: EnhancerPeer,
    prompt: str,
    seed: int,
    timeout: float,
    tell: Callable[[Happening], None],
    meter: ProgressMeter,
) -> Enhanced | Warning:
    """The enhancer's answer, or why there is none that can be used. `tell` hears every piece of it."""
    try:
        async with asyncio.timeout(timeout):
            answer = await _listen(enhancer, prompt, seed, timeout, tell, meter)
    except TimeoutError:
        return _timeout(timeout)
    except PeerError as error:
        if error.code == "DEADLINE_EXCEEDED":
            return _timeout(timeout)
        return Warning("ENHANCER_UNAVAILABLE", f"the original prompt was used: {error.message}")
    if answer is None or not answer.prompt.strip():
        return Warning("ENHANCER_BAD_ANSWER", "the original prompt was used: the enhancer's answer was empty")
    if len(answer.prompt) > LONGEST_PROMPT:
        return Warning(
            "ENHANCER_BAD_ANSWER",
            f"the original prompt was used: the enhancer's answer was {len(answer.prompt)} characters long, "
            f"more than {LONGEST_PROMPT}",
        )
    return answer


async def _listen(
    enhancer: EnhancerPeer,
    prompt: str,
    seed: int,
    timeout: float,
    tell: Callable[[Happening], None],
    meter: ProgressMeter,
) -> Enhanced | None:
    began = told = time.monotonic()
    tell(meter.enhancing(0.0))
    answer = None
    async with aclosing(enhancer.enhance(prompt, seed, timeout)) as pieces:
        async for piece in pieces:
            if isinstance(piece, Enhanced):
                answer = piece
                continue
            tell(PromptDelta(piece))
            if time.monotonic() - told > PROGRESS_SECONDS:
                told = time.monotonic()
                tell(meter.enhancing(told - began))
    return answer


def _timeout(seconds: float) -> Warning:
    return Warning(
        "ENHANCER_TIMEOUT", f"the original prompt was used: the enhancer did not answer within {seconds:g} s"
    )
