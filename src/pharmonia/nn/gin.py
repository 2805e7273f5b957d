"""Compound branch of GraphDTA's GIN, one row per distinct atom environment."""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pharmonia.chem.graphs import N_ATOM_FEATURES
from pharmonia.nn.bags import Bags, bag_sum
from pharmonia.nn.batches import InteractionBatch
from pharmonia.nn.branches import DROPOUT, N_ENTITY, CompoundBranch
from pharmonia.nn.choices import Norm
from pharmonia.nn.dropout import dropout
from pharmonia.nn.norms import make_norm

N_LAYERS = 5
WIDTH = 32


class GinLayer(nn.Module):
    """GIN convolution with eps = 0 (Xu et al. 2019, arXiv:1810.00826, equation 4.1): MLP(x_i + sum of x_j).

    The MLP's first linear map is applied before the sum, to the fewer rows of the smaller radius.
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.nn = nn.Sequential(nn.Linear(n_in, n_out), nn.ReLU(), nn.Linear(n_out, n_out))

    def forward(self, rows: Tensor, bags: Bags) -> Tensor:
        """(n_environments, n_out) from (n_environments_below, n_in)."""
        first, last = cast(nn.Linear, self.nn[0]), cast(nn.Linear, self.nn[2])
        hidden = bag_sum(F.linear(rows, first.weight), bags).add_(first.bias).relu_()
        return F.linear(hidden, last.weight, last.bias)


class GinBranch(CompoundBranch):
    """Five GIN layers of width 32, each followed by ReLU and a norm, sum pooling and a linear map with ReLU.

    Nguyen et al. 2021 (GraphDTA), model GINConvNet; parameters carry its names.
    """

    n_out = N_ENTITY

    def __init__(self, norm: Norm) -> None:
        super().__init__()
        for layer in range(1, N_LAYERS + 1):
            n_in = N_ATOM_FEATURES if layer == 1 else WIDTH
            self.add_module(f"conv{layer}", GinLayer(n_in, WIDTH))
            self.add_module(f"bn{layer}", make_norm(norm, WIDTH))
        self.fc1_xd = nn.Linear(WIDTH, N_ENTITY)

    def per_compound(self, batch: InteractionBatch) -> Tensor:
        """(n_compounds, 128), before dropout; in training mode the norms take the batch's statistics."""
        compounds = batch.compounds(N_LAYERS)
        dtype = self.fc1_xd.weight.dtype
        rows = compounds.features.to(dtype)
        for layer, (bags, counts) in enumerate(zip(compounds.layers, compounds.counts, strict=True), start=1):
            rows = self.get_submodule(f"conv{layer}")(rows, bags).relu_()
            rows = self.get_submodule(f"bn{layer}")(rows, counts.to(dtype))
        return torch.relu(self.fc1_xd(bag_sum(rows, compounds.pool)))

    def per_row(self, batch: InteractionBatch) -> Tensor:
        """(n_rows, 128): gathered first, then dropped, so that rows of one compound have masks of their own."""
        return dropout(self.per_compound(batch).index_select(0, batch.compound_of_row), DROPOUT, training=True)
