"""A network's parameters and running statistics as one vector, and back."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pharmonia.base.arrays import Vector
from pharmonia.base.errors import UpdateError


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Names and shapes of the tensors in a vector, in order.

    Floating-point parameters and buffers (BatchNorm's running statistics) are in it; counters are not.

    Args:
        names: Of the tensors, as in the model's state.
        shapes: One for each.
        trained: Whether gradients change it; False for running statistics.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    trained: tuple[bool, ...]

    @classmethod
    def of(cls, model: nn.Module, is_in: Callable[[str], bool] = lambda _: True) -> "Layout":
        """The layout of a model's floating-point state, or of the tensors whose names are wanted."""
        parameters = {name for name, _ in model.named_parameters()}
        state = {
            name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point() and is_in(name)
        }
        return cls(
            names=tuple(state),
            shapes=tuple(tuple(tensor.shape) for tensor in state.values()),
            trained=tuple(name in parameters for name in state),
        )

    @property
    def lengths(self) -> tuple[int, ...]:
        """Elements of each tensor."""
        return tuple(int(np.prod(shape)) for shape in self.shapes)

    @property
    def n_params(self) -> int:
        """Length of the vector."""
        return sum(self.lengths)

    @property
    def trained_mask(self) -> npt.NDArray[np.bool_]:
        """(n_params,) whether gradients change the element."""
        return np.repeat(np.array(self.trained, dtype=np.bool_), self.lengths)


def to_vector(model: nn.Module, layout: Layout) -> Vector:
    """(n_params,) float64 copy of the model's state in the layout's order."""
    state = model.state_dict()
    vector = np.empty(layout.n_params)
    start = 0
    for name, size in zip(layout.names, layout.lengths, strict=True):
        vector[start : start + size] = state[name].detach().numpy().reshape(-1)
        start += size
    return vector


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
    for name, shape, size in zip(layout.names, layout.shapes, layout.lengths, strict=True):
        kind = np.float32 if state[name].dtype is torch.float32 else np.float64
        state[name].copy_(torch.from_numpy(vector[start : start + size].astype(kind)).view(shape))
        start += size
