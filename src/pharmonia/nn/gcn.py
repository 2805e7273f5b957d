"""Graph convolution over distinct atom environments, and the compound branch of GraphDTA's GCN."""

from typing import Any

import torch
from torch import Tensor, nn

from pharmonia.chem.graphs import N_ATOM_FEATURES
from pharmonia.nn.bags import Bags, bag_max
from pharmonia.nn.batches import InteractionBatch
from pharmonia.nn.branches import DROPOUT, N_ENTITY, CompoundBranch
from pharmonia.nn.compounds import CompoundBatch
from pharmonia.nn.dropout import dropout
from pharmonia.nn.matmul import linear, linear_of_varying

N_LAYERS = 3


class _ScaledSum(torch.autograd.Function):
    """Each bag's sum of rows, scaled by row and by bag while they are summed."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, bags: Bags, scale_below: Tensor, scale: Tensor) -> Tensor:
        ctx.bags, ctx.scales = bags, (scale_below, scale)
        return _scaled(table, bags.members, bags.offsets, scale_below, scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        scale_below, scale = ctx.scales
        return _scaled(grads[0].contiguous(), ctx.bags.bags, ctx.bags.row_offsets, scale, scale_below), None, None, None


def _scaled(table: Tensor, members: Tensor, offsets: Tensor, of_member: Tensor, of_bag: Tensor) -> Tensor:
    weights = of_member[members] * torch.repeat_interleave(of_bag, torch.diff(offsets))
    return torch.embedding_bag(table, members, offsets, False, 0, False, weights, True)[0]


class GcnLayer(nn.Module):
    """Graph convolution (Kipf and Welling 2017, arXiv:1609.02907, equation 2): D^-1/2 (A + I) D^-1/2 X W + b.

    An environment of radius 1 or more determines its centre's degree, and so does an atom type, of which the degree
    is a feature; the convolution is therefore a function of the environment. The linear map is applied before the
    sum, to the fewer rows of the smaller radius. Parameters carry PyTorch Geometric's names, and start as there.
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.lin = nn.Linear(n_in, n_out, bias=False)
        self.bias = nn.Parameter(torch.zeros(n_out))
        nn.init.xavier_uniform_(self.lin.weight)

    def forward(self, rows: Tensor, bags: Bags, scale_below: Tensor, scale: Tensor) -> Tensor:
        """(n_environments, n_out) without the bias, from (n_environments_below, n_in).

        Args:
            rows: (n_environments_below, n_in).
            bags: The environments below that each environment sums.
            scale_below: (n_environments_below,), the -1/2 power of one more than the degree of each centre.
            scale: (n_environments,), the same of each environment.
        """
        table = linear_of_varying(rows, self.lin.weight)
        summed: Tensor = _ScaledSum.apply(table, bags, scale_below, scale)  # type: ignore[no-untyped-call]
        return summed


def degree_scales(compounds: CompoundBatch, dtype: torch.dtype) -> list[Tensor]:
    """Per radius from 0, (n_environments,): the -1/2 power of one more than the degree of each centre."""
    members = [compounds.n_members, *(torch.diff(bags.offsets) for bags in compounds.layers)]
    return [count.to(dtype).rsqrt() for count in members]


class GcnBranch(CompoundBranch):
    """Three graph convolutions 78-78-156-312 with ReLU, max pooling, Linear 1024, ReLU, Linear 128.

    Nguyen et al. 2021 (GraphDTA), model GCNNet; parameters carry its names. Dropout stands on both sides of the
    last linear map, which therefore runs once per row in training; all before it runs once per unique compound.
    """

    n_out = N_ENTITY

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = GcnLayer(N_ATOM_FEATURES, N_ATOM_FEATURES)
        self.conv2 = GcnLayer(N_ATOM_FEATURES, 2 * N_ATOM_FEATURES)
        self.conv3 = GcnLayer(2 * N_ATOM_FEATURES, 4 * N_ATOM_FEATURES)
        self.fc_g1 = nn.Linear(4 * N_ATOM_FEATURES, 1024)
        self.fc_g2 = nn.Linear(1024, N_ENTITY)

    def per_compound(self, batch: InteractionBatch) -> Tensor:
        """(n_compounds, 128) in evaluation mode."""
        return self.fc_g2(self._pooled(batch))  # type: ignore[no-any-return]

    def per_row(self, batch: InteractionBatch) -> Tensor:
        """(n_rows, 128): gathered before the first dropout."""
        rows = dropout(self._pooled(batch).index_select(0, batch.compound_of_row), DROPOUT, training=True)
        return dropout(linear(rows, self.fc_g2.weight, self.fc_g2.bias), DROPOUT, training=True)

    def _pooled(self, batch: InteractionBatch) -> Tensor:
        """(n_compounds, 1024)."""
        compounds = batch.compounds(N_LAYERS)
        dtype = self.fc_g1.weight.dtype
        scales = degree_scales(compounds, dtype)
        rows = compounds.features.to(dtype)
        below, middle, outer = compounds.layers
        rows = self.conv1(rows, below, scales[0], scales[1]).add_(self.conv1.bias).relu_()
        rows = self.conv2(rows, middle, scales[1], scales[2]).add_(self.conv2.bias).relu_()
        rows = self.conv3(rows, outer, scales[2], scales[3])
        largest = bag_max(rows, compounds.pool.members, compounds.pool.offsets)  # bias and ReLU commute with it
        hidden = torch.relu(largest + self.conv3.bias)
        return linear_of_varying(hidden, self.fc_g1.weight, self.fc_g1.bias).relu_()
