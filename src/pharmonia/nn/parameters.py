"""A network's parameters and running statistics as one vector, and back."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from pharmonia.base.arrays import Vector
from pharmonia.base.errors import UpdateError


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Names and shapes of the tensors in a parameter vector, in order.

    Floating-point parameters and buffers (BatchNorm's running statistics) are in it; counters are not.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, model: nn.Module) -> "Layout":
        """The layout of a model's floating-point state."""
        state = {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
        return cls(names=tuple(state), shapes=tuple(tuple(tensor.shape) for tensor in state.values()))

    @property
    def n_params(self) -> int:
        """Length of the vector."""
        return sum(int(np.prod(shape)) for shape in self.shapes)


def to_vector(model: nn.Module, layout: Layout) -> Vector:
    """(n_params,) float64 copy of the model's state in the layout's order."""
    state = model.state_dict()
    return np.concatenate([state[name].detach().numpy().reshape(-1) for name in layout.names]).astype(np.float64)


@torch.no_grad()
def load_vector(model: nn.Module, layout: Layout, vector: Vector) -> None:
    """Copy a vector into the model's parameters and buffers.

    Raises:
        UpdateError: The vector's length is not the layout's.
    """
    if vector.shape != (layout.n_params,):
        raise UpdateError(f"expected {layout.n_params} parameters, got an array of shape {vector.shape}")
    state = model.state_dict()
    start = 0
    for name, shape in zip(layout.names, layout.shapes, strict=True):
        size = int(np.prod(shape))
        state[name].copy_(torch.from_numpy(np.array(vector[start : start + size])).view(shape))
        start += size
