"""Compounds as sparse bits, and the linear layer on them.

Its weight gradient is never held whole unless somebody asks for it: `SparseLinear.gradient_blocks` gives it a few
hundred rows at a time, so that an optimiser's step follows while the block is in the processor's cache.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from pharmonia.base.arrays import frozen_view
from pharmonia.base.errors import UpdateError

_BLOCK_ELEMENTS = 2**19  # of a gradient block: 2 MiB in float32
_BLOCK_ROWS = 2**13  # that are taken at a time


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BitRows:
    """Which bits each compound has: a binary matrix in CSR form, not copied, possibly memory-mapped.

    Args:
        indptr: (n_rows + 1,) int64, from 0 to the length of indices.
        indices: (n_set,) int32, columns.
        n_columns: Width of the matrix.

    Raises:
        UpdateError: Not a matrix of that width.
    """

    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    n_columns: int

    def __post_init__(self) -> None:
        check_indptr(self.indptr, self.indices.size)
        if self.indices.size and not 0 <= self.indices.min() <= self.indices.max() < self.n_columns:
            raise UpdateError(f"a compound has a bit outside the {self.n_columns} columns")
        object.__setattr__(self, "indptr", frozen_view(self.indptr))
        object.__setattr__(self, "indices", frozen_view(self.indices))

    def __len__(self) -> int:
        """Number of compounds."""
        return self.indptr.size - 1

    def take(self, rows: npt.NDArray[np.int64]) -> "BitRows":
        """These compounds, in this order; needs little memory beside the result."""
        indptr = np.concatenate(([0], np.cumsum(self.indptr[rows + 1] - self.indptr[rows])))
        indices = np.empty(indptr[-1], dtype=np.int32)
        for first in range(0, rows.size, _BLOCK_ROWS):
            block = rows[first : first + _BLOCK_ROWS]
            _, places = row_places(self.indptr, block)
            indices[indptr[first] : indptr[first + block.size]] = self.indices[places]
        return BitRows(indptr=indptr, indices=indices, n_columns=self.n_columns)


def check_indptr(indptr: npt.NDArray[np.int64], n_values: int) -> None:
    """Refuse row pointers that are not those of n_values values.

    Raises:
        UpdateError: They do not start at 0, fall, or end elsewhere.
    """
    if indptr.ndim != 1 or indptr.size < 1 or indptr[0] != 0 or indptr[-1] != n_values or (np.diff(indptr) < 0).any():
        raise UpdateError(f"row pointers must rise from 0 to {n_values}")


def row_places(
    indptr: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Row pointers of some rows of a CSR matrix, and where their values lie in it."""
    starts = indptr[rows]
    lengths = indptr[rows + 1] - starts
    taken = np.concatenate(([0], np.cumsum(lengths)))
    return taken, np.arange(taken[-1]) + np.repeat(starts - taken[:-1], lengths)


@dataclass(frozen=True, slots=True, eq=False)
class BitBatch:
    """A minibatch of compounds as the tensors that the layer reads."""

    indices: Tensor  # (n_set,) int32
    indptr: Tensor  # (n_rows + 1,) int32
    n_columns: int

    @classmethod
    def of(cls, bits: BitRows) -> "BitBatch":
        """The batch of these compounds."""
        return cls(
            torch.from_numpy(np.array(bits.indices)), torch.from_numpy(bits.indptr.astype(np.int32)), bits.n_columns
        )

    def __len__(self) -> int:
        """Number of compounds."""
        return len(self.indptr) - 1

    def transposed(self) -> tuple[Tensor, Tensor]:
        """Compounds by column (n_set,), and the column pointers (n_columns + 1,); int32."""
        ones = np.ones(len(self.indices), dtype=np.int8)
        shape = (len(self), self.n_columns)
        columns = sparse.csr_matrix((ones, self.indices.numpy(), self.indptr.numpy()), shape=shape).tocsc()
        return torch.from_numpy(columns.indices), torch.from_numpy(columns.indptr)


class SparseLinear(nn.Module):
    """bits @ weight + bias for binary rows; its weight gradient comes from `gradient_blocks` or `fill_gradient`.

    Autograd gives gradients of the bias only; `weight.grad` stays as it is. One forward pass, then one backward pass.
    """

    def __init__(self, n_columns: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_columns, width))
        self.bias = nn.Parameter(torch.full((width,), 0.1))
        nn.init.xavier_uniform_(self.weight, gain=nn.init.calculate_gain("relu"))
        self._backward: tuple[BitBatch, Tensor] | None = None
        self._buffer: Tensor | None = None

    def forward(self, batch: BitBatch) -> Tensor:
        """(n_rows, width)."""
        result: Tensor = _BitsTimesWeight.apply(self.weight, self.bias, self, batch)  # type: ignore[no-untyped-call]
        return result

    def keep(self, batch: BitBatch, grad: Tensor) -> None:
        """Remember what the backward pass came with."""
        self._backward = (batch, grad)

    @torch.no_grad()
    def gradient_blocks(self) -> Iterator[tuple[int, int, Tensor]]:
        """First row, last row + 1 and gradient of each block of the weight in the last backward pass.

        Raises:
            UpdateError: There was none since the last call.
        """
        if self._backward is None:
            raise UpdateError("a gradient needs a backward pass first")
        batch, grad = self._backward
        self._backward = None
        rows, starts = batch.transposed()
        n_columns, width = self.weight.shape
        step = max(1, _BLOCK_ELEMENTS // width)
        ends = [*range(step, n_columns, step), n_columns]
        for first, last in zip([0, *ends[:-1]], ends, strict=True):
            places = starts[first : last + 1]
            inside = rows[int(places[0]) : int(places[-1])]
            yield first, last, _sums_of_rows(grad, inside, places - places[0])

    def fill_gradient(self) -> None:
        """Put the gradient of the last backward pass into `weight.grad`, a buffer that is used again."""
        if self._buffer is None:
            self._buffer = torch.empty_like(self.weight)
        for first, last, block in self.gradient_blocks():
            self._buffer[first:last] = block
        self.weight.grad = self._buffer


class _BitsTimesWeight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor, layer: SparseLinear, batch: BitBatch) -> Tensor:
        ctx.layer, ctx.batch = layer, batch
        return _sums_of_rows(weight, batch.indices, batch.indptr).add_(bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor | None, None, None]:
        if ctx.needs_input_grad[0]:
            ctx.layer.keep(ctx.batch, grads[0].contiguous())
        return None, grads[0].sum(dim=0) if ctx.needs_input_grad[1] else None, None, None


def _sums_of_rows(table: Tensor, indices: Tensor, indptr: Tensor) -> Tensor:
    """(n_sums, width): row i is the sum of the table's rows indices[indptr[i]:indptr[i + 1]]."""
    if not len(indices):
        return table.new_zeros(len(indptr) - 1, table.shape[1])
    return embedding_bag(indices, table, indptr, mode="sum", include_last_offset=True)
