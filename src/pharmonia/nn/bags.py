"""Sums and maxima of rows by index, and their gradients by index too."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Bags:
    """Which rows of a table each bag sums, and the transpose.

    `members[offsets[b]:offsets[b + 1]]` are the rows of bag b; `bags[row_offsets[r]:row_offsets[r + 1]]` are the
    bags that row r is in. int64 tensors.
    """

    members: Tensor
    offsets: Tensor
    bags: Tensor
    row_offsets: Tensor

    @classmethod
    def build(cls, members: npt.NDArray[np.integer], offsets: npt.NDArray[np.integer], n_rows: int) -> "Bags":
        """Bags over a table of n_rows, from flat members and (n_bags + 1,) offsets; a row may stand twice in a bag."""
        ones = np.ones(members.size, dtype=np.int8)
        by_bag = sparse.csr_array((ones, members, offsets), shape=(offsets.size - 1, n_rows))
        by_row = by_bag.tocsc()
        return cls(*(torch.from_numpy(a.astype(np.int64)) for a in (members, offsets, by_row.indices, by_row.indptr)))


class _BagSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, bags: Bags) -> Tensor:
        ctx.bags = bags
        return _sum(table, bags.members, bags.offsets)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _sum(grads[0].contiguous(), ctx.bags.bags, ctx.bags.row_offsets), None


def bag_sum(table: Tensor, bags: Bags) -> Tensor:
    """(n_bags, width): the sum of each bag's rows of a (n_rows, width) table; empty bags give zeros."""
    result: Tensor = _BagSum.apply(table, bags)  # type: ignore[no-untyped-call]
    return result


class _BagMax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, members: Tensor, offsets: Tensor) -> Tensor:
        largest, _, _, row_of = torch.embedding_bag(table, members, offsets, False, 2, False, None, True)
        ctx.save_for_backward(row_of)
        ctx.n_rows = table.shape[0]
        return largest

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (row_of,) = ctx.saved_tensors
        return grads[0].new_zeros(ctx.n_rows, grads[0].shape[1]).scatter_add_(0, row_of, grads[0]), None, None


def bag_max(table: Tensor, members: Tensor, offsets: Tensor) -> Tensor:
    """(n_bags, width): per column the largest of each bag's rows of a (n_rows, width) table; no bag may be empty.

    Of several equal largest rows, the first one in the bag takes the gradient.
    """
    result: Tensor = _BagMax.apply(table, members, offsets)  # type: ignore[no-untyped-call]
    return result


def _sum(table: Tensor, members: Tensor, offsets: Tensor) -> Tensor:
    return torch.embedding_bag(table, members, offsets, False, 0, False, None, True)[0]
