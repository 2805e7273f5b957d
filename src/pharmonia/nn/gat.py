"""Compound branches of GraphDTA's GAT and GAT-GCN."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from pharmonia.chem.graphs import N_ATOM_FEATURES
from pharmonia.nn.attention import GatLayer, Neighbourhoods
from pharmonia.nn.bags import Bags, bag_max, bag_sum
from pharmonia.nn.batches import InteractionBatch
from pharmonia.nn.branches import DROPOUT, N_ENTITY, CompoundBranch
from pharmonia.nn.compounds import AtomBatch
from pharmonia.nn.dropout import dropout, kept, scale
from pharmonia.nn.gcn import GcnLayer, degree_scales
from pharmonia.nn.matmul import linear, linear_of_varying

N_LAYERS = 2
N_HEADS = 10
WIDTH = N_HEADS * N_ATOM_FEATURES
BLOCK_ROWS = 256


class GatBranch(CompoundBranch):
    """Attention 78 x 10 heads, ELU, attention 128, ReLU, max pooling, Linear 128, ReLU.

    Nguyen et al. 2021 (GraphDTA), model GATNet; parameters carry its names. Dropout falls on the atoms' features,
    on the attention coefficients and between the layers: in training no two atoms are alike, so every row of the
    batch has atoms of its own, as in the plain formulation. What is shared even so: an atom's features are a handful
    of ones over a sum, so after dropout few distinct rows are left (at most 32 per atom type), and the first
    linear map runs once for each.
    """

    n_out = N_ENTITY

    def __init__(self) -> None:
        super().__init__()
        self.gcn1 = GatLayer(N_ATOM_FEATURES, N_ATOM_FEATURES, N_HEADS)
        self.gcn2 = GatLayer(WIDTH, N_ENTITY, 1)
        self.fc_g1 = nn.Linear(N_ENTITY, N_ENTITY)

    def per_compound(self, batch: InteractionBatch) -> Tensor:
        """(n_compounds, 128) in evaluation mode, a row per distinct environment."""
        compounds = batch.compounds(N_LAYERS)
        rows = compounds.features.to(self.fc_g1.weight.dtype)
        first, second = (_neighbourhoods(bags) for bags in compounds.layers)
        rows = nn.functional.elu(self.gcn1(self.gcn1.lin(rows), first, DROPOUT) + self.gcn1.bias)
        return self._pooled(self.gcn2.lin(rows), second, compounds.pool.members, compounds.pool.offsets)

    def per_row(self, batch: InteractionBatch) -> Tensor:
        """(n_rows, 128), a row per atom."""
        atoms = batch.atoms
        features, row_of_atom = _dropped_features(atoms, self.fc_g1.weight.dtype)
        first = Neighbourhoods.build(row_of_atom[atoms.members].numpy(), atoms.offsets, features.shape[0])
        second = Neighbourhoods.build(atoms.members, atoms.offsets, atoms.types.numel())
        attended = self.gcn1(self.gcn1.lin(features), first, DROPOUT)
        rows: Tensor = _DroppedElu.apply(attended, self.gcn1.bias)  # type: ignore[no-untyped-call]
        return self._pooled(
            linear(rows, self.gcn2.lin.weight), second, torch.arange(atoms.types.numel()), atoms.atom_offsets
        )

    def _pooled(self, table: Tensor, hood: Neighbourhoods, members: Tensor, offsets: Tensor) -> Tensor:
        """Second attention, maximum over the members of each compound, linear map; ReLU commutes with the maximum."""
        largest = bag_max(self.gcn2(table, hood, DROPOUT), members, offsets)
        return torch.relu(self.fc_g1(torch.relu(largest + self.gcn2.bias)))


class _DroppedElu(torch.autograd.Function):
    """dropout(elu(rows + bias)), block by block of rows: what stays in a core's cache through all its steps."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, bias: Tensor) -> Tensor:
        is_kept = kept(rows.shape, DROPOUT)
        dropped = torch.empty_like(rows)
        for block, mask, result in _blocks(rows, is_kept, dropped):
            torch.mul(torch.nn.functional.elu_(block + bias), _factors(mask, rows.dtype), out=result)
        ctx.save_for_backward(dropped, is_kept)
        return dropped

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        # elu'(x) = min(elu(x) + 1, 1); times the mask: min(dropped + mask, mask)
        dropped, is_kept = ctx.saved_tensors
        for_rows = torch.empty_like(dropped)
        for grad, block, mask, result in _blocks(grads[0], dropped, is_kept, for_rows):
            factors = _factors(mask, dropped.dtype)
            torch.mul(torch.minimum(block + factors, factors), grad, out=result)
        return for_rows, for_rows.sum(dim=0)


def _blocks(*tables: Tensor) -> Iterator[tuple[Tensor, ...]]:
    return zip(*(torch.split(table, BLOCK_ROWS) for table in tables), strict=True)


def _factors(is_kept: Tensor, dtype: torch.dtype) -> Tensor:
    return is_kept.to(dtype).mul_(scale(DROPOUT))


class GatGcnBranch(CompoundBranch):
    """Attention 78 x 10 heads, graph convolution 780, maximum and mean over atoms, Linear 1500, ReLU, Linear 128.

    Nguyen et al. 2021 (GraphDTA), model GAT_GCN; parameters carry its names. Its only dropout stands before the last
    linear map, which runs once per row in training; all before it runs once per environment or unique compound.
    """

    n_out = N_ENTITY

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = GatLayer(N_ATOM_FEATURES, N_ATOM_FEATURES, N_HEADS)
        self.conv2 = GcnLayer(WIDTH, WIDTH)
        self.fc_g1 = nn.Linear(2 * WIDTH, 1500)
        self.fc_g2 = nn.Linear(1500, N_ENTITY)

    def per_compound(self, batch: InteractionBatch) -> Tensor:
        """(n_compounds, 128) in evaluation mode."""
        return self.fc_g2(self._hidden(batch))  # type: ignore[no-any-return]

    def per_row(self, batch: InteractionBatch) -> Tensor:
        """(n_rows, 128): gathered before dropout."""
        rows = dropout(self._hidden(batch).index_select(0, batch.compound_of_row), DROPOUT, training=True)
        return linear(rows, self.fc_g2.weight, self.fc_g2.bias)

    def _hidden(self, batch: InteractionBatch) -> Tensor:
        """(n_compounds, 1500)."""
        compounds = batch.compounds(N_LAYERS)
        dtype = self.fc_g1.weight.dtype
        scales = degree_scales(compounds, dtype)
        hood = _neighbourhoods(compounds.layers[0])
        attended = self.conv1(self.conv1.lin(compounds.features.to(dtype)), hood, 0.0)
        rows = self.conv2((attended + self.conv1.bias).relu_(), compounds.layers[1], scales[1], scales[2])
        rows = rows.add_(self.conv2.bias).relu_()
        pool = compounds.pool
        n_atoms = torch.diff(pool.offsets).to(dtype)[:, None]
        both = torch.cat((bag_max(rows, pool.members, pool.offsets), bag_sum(rows, pool) / n_atoms), dim=1)
        return linear_of_varying(both, self.fc_g1.weight, self.fc_g1.bias).relu_()


def _neighbourhoods(bags: Bags) -> Neighbourhoods:
    return Neighbourhoods.build(bags.members.numpy(), bags.offsets.numpy(), bags.row_offsets.numel() - 1)


@torch.no_grad()
def _dropped_features(atoms: AtomBatch, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Every atom's features after dropout: the distinct rows, and (n_atoms,) int64 which of them each atom has."""
    features = atoms.features.to(dtype)
    dropped = dropout(features[atoms.types], DROPOUT, training=True)
    in_use = features != 0
    n_in_use = int(in_use.sum(dim=1).max())
    columns = in_use.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :n_in_use]
    remaining = dropped.gather(1, columns[atoms.types]) != 0
    bits = (remaining * (1 << torch.arange(n_in_use))).sum(dim=1)
    code = (atoms.types << n_in_use) + bits
    example = torch.full((features.shape[0] << n_in_use,), -1, dtype=torch.int64)
    example[code] = torch.arange(code.numel())
    codes = torch.nonzero(example >= 0).squeeze(1)
    position = torch.empty_like(example)
    position[codes] = torch.arange(codes.numel())
    return dropped[example[codes]], position[code]
