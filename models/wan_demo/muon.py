"""Muon, an optimiser for matrices, with one kernel for all matrices of a shape.

torch.optim.Muon goes matrix by matrix: for wan-demo's hundred small ones that was 50 ms of kernel launches a step on
an H100's host, a third of the step.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def orthogonal(matrices: Tensor, steps: int = 5) -> Tensor:
    """Nearly the closest orthogonal matrix to each of ``matrices`` (count × rows × columns); in bfloat16 on a GPU.

    Newton-Schulz iteration of fifth order, https://kellerjordan.github.io/posts/muon: singular values end near 1.
    """
    x = matrices.bfloat16() if matrices.is_cuda else matrices
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    result: Tensor = x.mT if tall else x
    return result


class Muon:
    """Momentum whose update is made orthogonal, scaled so that AdamW's learning rates fit (arXiv 2502.16982)."""

    def __init__(self, matrices: Iterable[Tensor], momentum: float = 0.95, weight_decay: float = 0.01) -> None:
        self._momentum, self._decay = momentum, weight_decay
        self._groups: dict[torch.Size, list[Tensor]] = {}
        for matrix in matrices:
            self._groups.setdefault(matrix.shape, []).append(matrix)
        self._means = {shape: torch.zeros_like(torch.stack(group)) for shape, group in self._groups.items()}

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Change the matrices by their gradients."""
        for shape, group in self._groups.items():
            gradients = torch.stack([matrix.grad for matrix in group if matrix.grad is not None])
            mean = self._means[shape].lerp_(gradients, 1 - self._momentum)
            update = orthogonal(gradients.lerp(mean, self._momentum)).to(group[0].dtype)
            torch._foreach_mul_(group, 1 - rate * self._decay)
            torch._foreach_add_(group, list(update.unbind(0)), alpha=-rate * 0.2 * max(shape) ** 0.5)

    def state_dict(self) -> list[Tensor]:
        """The momentum."""
        return list(self._means.values())

    def load_state_dict(self, state: list[Tensor]) -> None:
        """Go on with a momentum that was kept."""
        for mean, kept in zip(self._means.values(), state, strict=True):
            mean.copy_(kept)
