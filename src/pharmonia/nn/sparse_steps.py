"""Optimiser steps of sparse layers, block by block, without a gradient in memory."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pharmonia.nn.sparse import SparseLinear

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8  # PyTorch's and the paper's


class BlockAdam:
    """Adam (Kingma and Ba 2015, arXiv:1412.6980) on the weights of sparse layers, equal to `torch.optim.Adam`.

    Every weight moves at every step, also those of bits that no compound of the batch has: their moments decay.
    """

    def __init__(self, layers: Sequence[SparseLinear], learning_rate: float) -> None:
        self._layers, self.learning_rate = tuple(layers), learning_rate
        self._n_steps = torch.zeros(())
        self._moments = [(torch.zeros_like(layer.weight), torch.zeros_like(layer.weight)) for layer in self._layers]

    @torch.no_grad()
    def step(self) -> None:
        """Follow the gradient of the last backward pass."""
        self._n_steps += 1
        for layer, (mean, square) in zip(self._layers, self._moments, strict=True):
            for first, last, gradient in layer.gradient_blocks():
                block = slice(first, last)
                torch._fused_adam_(
                    [layer.weight[block]],
                    [gradient],
                    [mean[block]],
                    [square[block]],
                    [],
                    [self._n_steps],
                    lr=self.learning_rate,
                    beta1=BETA_1,
                    beta2=BETA_2,
                    weight_decay=0.0,
                    eps=EPSILON,
                    amsgrad=False,
                    maximize=False,
                )

    def state(self) -> dict[str, Tensor]:
        """What it remembers, by name; not copied."""
        named = {f"{index}.{name}": moment for index, pair in enumerate(self._moments)
                 for name, moment in zip(("mean", "square"), pair, strict=True)}  # fmt: skip
        return {"n_steps": self._n_steps.reshape(1), **named}

    def load(self, state: dict[str, Tensor]) -> None:
        """Take up what `state` gave."""
        self._n_steps.copy_(state["n_steps"][0])
        for index, (mean, square) in enumerate(self._moments):
            mean.copy_(state[f"{index}.mean"])
            square.copy_(state[f"{index}.square"])


class BlockSgd:
    """Gradient descent on the weights of sparse layers."""

    def __init__(self, layers: Sequence[SparseLinear], learning_rate: float) -> None:
        self._layers, self.learning_rate = tuple(layers), learning_rate

    @torch.no_grad()
    def step(self) -> None:
        """Follow the gradient of the last backward pass."""
        for layer in self._layers:
            for first, last, gradient in layer.gradient_blocks():
                layer.weight[first:last].add_(gradient, alpha=-self.learning_rate)

    def state(self) -> dict[str, Tensor]:
        """Nothing: it remembers nothing."""
        return {}

    def load(self, state: dict[str, Tensor]) -> None:
        """Take up what `state` gave."""
