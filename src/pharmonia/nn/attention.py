"""Graph attention over neighbourhoods: softmax and weighted sums whose members may be shared rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor, nn

from pharmonia.nn.dropout import dropout_factors

NEGATIVE_SLOPE = 0.2  # of the LeakyReLU


@dataclass(frozen=True, slots=True, eq=False)
class Neighbourhoods:
    """Which rows of a table each centre attends to, and the transpose; int64 tensors.

    Args:
        members: (n_members,) rows of the table, per centre its own first, then its neighbours'.
        offsets: (n_centres + 1,) into `members`.
        centre_of: (n_members,) the centre of each member.
        order: (n_members,) the members by row.
        row_offsets: (n_rows + 1,) into `order`.
    """

    members: Tensor
    offsets: Tensor
    centre_of: Tensor
    order: Tensor
    row_offsets: Tensor

    @classmethod
    def build(cls, members: npt.NDArray[np.integer], offsets: npt.NDArray[np.integer], n_rows: int) -> "Neighbourhoods":
        """Neighbourhoods over a table of n_rows; no centre is without members."""
        numbers = np.arange(members.size)
        by_row = sparse.csr_array((numbers, members, offsets), shape=(offsets.size - 1, n_rows)).tocsc()
        centre_of = np.repeat(np.arange(offsets.size - 1), np.diff(offsets))
        arrays = (members, offsets, centre_of, by_row.data, by_row.indptr)
        return cls(*(torch.from_numpy(array.astype(np.int64)) for array in arrays))


class _Softmax(torch.autograd.Function):
    """Softmax of (n_members, n_heads) over the members of each centre."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, hood: Neighbourhoods) -> Tensor:
        starts = hood.offsets[:-1].numpy()
        largest = torch.from_numpy(np.maximum.reduceat(logits.numpy(), starts, axis=0))
        weights = (logits - largest[hood.centre_of]).exp_()
        weights = weights.div_(_per_centre(weights, hood)[hood.centre_of])
        ctx.save_for_backward(weights)
        ctx.hood = hood
        return weights

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (weights,) = ctx.saved_tensors
        share = grads[0] * weights
        return share.sub_(weights * _per_centre(share, ctx.hood)[ctx.hood.centre_of]), None


def _per_centre(values: Tensor, hood: Neighbourhoods) -> Tensor:
    return torch.from_numpy(np.add.reduceat(values.numpy(), hood.offsets[:-1].numpy(), axis=0))


class _WeightedSum(torch.autograd.Function):
    """Sums of each centre's rows, weighted per member and head.

    Row r and head h are row r * n_heads + h of the (n_rows * n_heads, width) table; a bag per centre and head.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, weights: Tensor, hood: Neighbourhoods) -> Tensor:
        n_heads = weights.shape[1]
        place, offsets = _by_head(hood.offsets, n_heads)
        rows = _placed(_with_heads(hood.members, n_heads), place)
        heads = table.view(table.shape[0] * n_heads, -1)
        placed = _placed(weights, place)
        summed = torch.embedding_bag(heads, rows, offsets, False, 0, False, placed, True)[0]
        ctx.save_for_backward(heads, weights, place, offsets, rows)
        ctx.hood = hood
        return summed.view(hood.offsets.numel() - 1, -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        heads, weights, place, offsets, rows = ctx.saved_tensors
        hood, n_heads = ctx.hood, weights.shape[1]
        grad = grads[0].reshape(-1, heads.shape[1])
        bag_of = _placed(_with_heads(hood.centre_of, n_heads), place)
        along = torch.ops.aten._embedding_bag_per_sample_weights_backward(grad, heads, rows, offsets, bag_of, 0)
        for_weights = along[place].view(weights.shape)
        back, back_offsets = _by_head(hood.row_offsets, n_heads)
        centres = _placed(_with_heads(hood.centre_of[hood.order], n_heads), back)
        by_row = _placed(weights[hood.order], back)
        for_table = torch.embedding_bag(grad, centres, back_offsets, False, 0, False, by_row, True)[0]
        return for_table.view(hood.row_offsets.numel() - 1, -1), for_weights, None


def _with_heads(rows: Tensor, n_heads: int) -> Tensor:
    """(n, n_heads): the rows of a table with n_heads rows for each."""
    return rows[:, None] * n_heads + torch.arange(n_heads)


def _by_head(offsets: Tensor, n_heads: int) -> tuple[Tensor, Tensor]:
    """Where each (member, head) goes when bags are cut by head, and the (n_bags * n_heads + 1,) offsets there.

    Bag b's members go to n_heads runs of equal length, one after another, from offsets[b] * n_heads on.
    """
    lengths = torch.diff(offsets)
    bag_of = torch.repeat_interleave(lengths)
    first = offsets[:-1]
    heads = torch.arange(n_heads)
    base = first * (n_heads - 1)  # a member's place is base + its number + head * length
    place = (base[bag_of] + torch.arange(bag_of.numel()))[:, None] + lengths[bag_of][:, None] * heads
    starts = (first * n_heads)[:, None] + lengths[:, None] * heads
    return place.view(-1), torch.cat((starts.view(-1), offsets[-1:] * n_heads))


def _placed(values: Tensor, place: Tensor) -> Tensor:
    return torch.empty_like(values).view(-1).index_copy_(0, place, values.reshape(-1))


class GatLayer(nn.Module):
    """Graph attention with self-loops (Velickovic et al. 2018, arXiv:1710.10903, equations 3 to 5), heads concatenated.

    out_i = sum over j in {i} and its neighbours of softmax_j(LeakyReLU(a . W x_i + a' . W x_j)) W x_j. W is applied
    once per row of the table, however many centres share the row. Parameters carry PyTorch Geometric's names and
    start as there.
    """

    def __init__(self, n_in: int, n_out: int, n_heads: int) -> None:
        super().__init__()
        self._n_heads, self._n_out = n_heads, n_out
        self.att_src = nn.Parameter(torch.empty(1, n_heads, n_out))
        self.att_dst = nn.Parameter(torch.empty(1, n_heads, n_out))
        self.bias = nn.Parameter(torch.zeros(n_heads * n_out))
        self.lin = nn.Linear(n_in, n_heads * n_out, bias=False)
        nn.init.xavier_uniform_(self.lin.weight)
        bound = (6 / (n_heads + n_out)) ** 0.5
        nn.init.uniform_(self.att_src, -bound, bound)
        nn.init.uniform_(self.att_dst, -bound, bound)

    def forward(self, table: Tensor, hood: Neighbourhoods, rate: float) -> Tensor:
        """(n_centres, n_heads * n_out) without the bias, from the mapped table.

        Args:
            table: (n_rows, n_heads * n_out), `lin` of the rows.
            hood: Which rows each centre attends to.
            rate: Dropout on the attention coefficients, in training mode.
        """
        by_head = table.view(-1, self._n_heads, self._n_out)
        source = (by_head * self.att_src).sum(dim=-1)
        centre = (by_head * self.att_dst).sum(dim=-1)
        own = hood.members[hood.offsets[:-1]]
        logits = source.index_select(0, hood.members) + centre.index_select(0, own).index_select(0, hood.centre_of)
        weights: Tensor = _Softmax.apply(F.leaky_relu(logits, NEGATIVE_SLOPE), hood)  # type: ignore[no-untyped-call]
        if self.training and rate > 0:
            weights = weights * _factors(weights, hood, rate)
        result: Tensor = _WeightedSum.apply(table, weights, hood)  # type: ignore[no-untyped-call]
        return result


def _factors(weights: Tensor, hood: Neighbourhoods, rate: float) -> Tensor:
    """Dropout's factors, drawn for the neighbours of all centres first and for the centres themselves after."""
    drawn = dropout_factors(weights.shape, weights.dtype, rate)
    is_own = torch.zeros(weights.shape[0], dtype=torch.bool)
    is_own[hood.offsets[:-1]] = True
    n_neighbours = weights.shape[0] - hood.offsets.numel() + 1
    factors = torch.empty_like(drawn)
    factors[~is_own], factors[is_own] = drawn[:n_neighbours], drawn[n_neighbours:]
    return factors
