"""What every local learner does in a step, whatever its network."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pharmonia.learn.settings import Algorithm, Method


def batches(order: npt.NDArray[np.int64], batch_size: int) -> list[npt.NDArray[np.int64]]:
    """Batches of nearly equal size, none over batch_size; a lone last row would upset BatchNorm."""
    return np.array_split(order, -(-order.size // batch_size))


class Correction:
    """What FedProx and SCAFFOLD add to a gradient before each local step."""

    def __init__(self, method: Method, weights: Sequence[Tensor], correction: list[Tensor]) -> None:
        """Correction: c - c_i of SCAFFOLD, one tensor for each weight; else none."""
        self._method, self._weights, self._correction = method, weights, correction
        self._n_steps = 0
        match method.algorithm:
            case Algorithm.FEDPROX:
                self._anchor = [weight.detach().clone() for weight in weights]
            case Algorithm.SCAFFOLD:
                self._sums = [torch.zeros_like(weight) for weight in weights]

    @torch.no_grad()
    def apply(self) -> None:
        """Correct the weights' gradients, once they are there."""
        match self._method.algorithm:
            case Algorithm.FEDPROX:  # Li et al. 2020: + mu (w - w_t)
                for weight, anchor in zip(self._weights, self._anchor, strict=True):
                    if weight.grad is not None:
                        weight.grad.add_(weight - anchor, alpha=self._method.strength)
            case Algorithm.SCAFFOLD:  # Karimireddy et al. 2020, Algorithm 1: - c_i + c
                for weight, total, correction in zip(self._weights, self._sums, self._correction, strict=True):
                    if weight.grad is not None:
                        total.add_(weight.grad)
                        weight.grad.add_(correction)
        self._n_steps += 1

    def mean_gradients(self) -> list[Tensor]:
        """Mean uncorrected gradient over the steps: option II's c_i+ where the local optimiser is SGD."""
        return [total / self._n_steps for total in self._sums]
