"""Normalisation over rows that each stand for several equal rows."""

from typing import Any

import torch
from torch import Tensor, nn

from pharmonia.nn.choices import Norm


def make_norm(norm: Norm, width: int) -> nn.Module:
    """A normalisation whose parameter names are those of its plain PyTorch counterpart."""
    match norm:
        case Norm.BATCH:
            return WeightedBatchNorm(width)
        case Norm.LAYER:
            return RowLayerNorm(width)


class RowLayerNorm(nn.LayerNorm):
    """LayerNorm of each row; how often a row stands for another does not matter to it."""

    def forward(self, rows: Tensor, counts: Tensor | None) -> Tensor:  # type: ignore[override]  # noqa: ARG002
        """(n_rows, width) normalised per row."""
        return super().forward(rows)


class WeightedBatchNorm(nn.BatchNorm1d):
    """BatchNorm1d over rows that stand for `counts` equal rows each.

    Ioffe and Szegedy 2015 (arXiv:1502.03167), Algorithm 1, with mean and variance weighted by the counts; the
    running variance takes the unbiased factor N / (N - 1) with N the sum of the counts. Equal to BatchNorm1d on
    the expanded rows.
    """

    def forward(self, rows: Tensor, counts: Tensor | None) -> Tensor:  # type: ignore[override]
        """(n_rows, width) normalised by the batch's statistics in training, else by the running ones.

        Args:
            rows: (n_rows, width).
            counts: (n_rows,) in the dtype of `rows`; needed in training only.
        """
        if not self.training or counts is None:
            return super().forward(rows)
        normalised, mean, variance = _WeightedNormalise.apply(rows, counts, self.eps)  # type: ignore[no-untyped-call]
        self._track(mean, variance, float(counts.sum()))
        result: Tensor = torch.addcmul(self.bias, normalised, self.weight)
        return result

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, n_expanded: float) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        momentum = self.momentum if self.momentum is not None else 0.1
        unbiased = variance * (n_expanded / max(n_expanded - 1.0, 1.0))
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(unbiased, momentum)
        self.num_batches_tracked.add_(1)


class _WeightedNormalise(torch.autograd.Function):
    """(x - mean) / sqrt(var + eps) with weighted statistics, and its gradient in three passes over the rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        weights = counts / counts.sum()
        mean = weights @ rows
        centred = rows - mean
        variance = weights @ centred.square()
        inverse_std = (variance + eps).rsqrt()
        normalised = centred.mul_(inverse_std)
        ctx.save_for_backward(normalised, weights, inverse_std)
        ctx.mark_non_differentiable(mean, variance)
        return normalised, mean, variance

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        # Upstream gradients already sum over a row's copies, so each row's share of the mean terms is its weight.
        normalised, weights, inverse_std = ctx.saved_tensors
        grad = grads[0]
        total = grad.sum(dim=0)
        along = (grad * normalised).sum(dim=0)
        shared = torch.addcmul(total, normalised, along).mul_(weights[:, None])
        return torch.sub(grad, shared).mul_(inverse_std), None, None


NORMS = (RowLayerNorm, WeightedBatchNorm)
