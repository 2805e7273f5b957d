"""Compound branch of GraphDTA's GIN, one row per distinct atom environment."""

from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pharmonia.chem.environments import refine
from pharmonia.chem.graphs import N_ATOM_FEATURES, MolGraphs, ranges
from pharmonia.nn.bags import Bags, bag_sum
from pharmonia.nn.choices import Norm
from pharmonia.nn.norms import make_norm

N_LAYERS = 5
WIDTH = 32


@dataclass(frozen=True, slots=True, eq=False)
class CompoundBatch:
    """The unique compounds of a batch, as sums over distinct environments.

    Args:
        features: (n_types, 78) atom feature rows in use.
        layers: Per layer the environments that each environment of the next radius sums.
        pool: Per compound the outermost environments of its atoms.
        counts: Per layer (n_environments,) float32: atoms of the expanded batch that each environment stands for.
    """

    features: Tensor
    layers: tuple[Bags, ...]
    pool: Bags
    counts: tuple[Tensor, ...]


class CompoundIndex:
    """Unique compounds prepared for batching: their distinct environments at each radius."""

    def __init__(self, graphs: MolGraphs) -> None:
        self._graphs = graphs
        self._levels = refine(graphs, N_LAYERS)

    def batch(self, compounds: npt.NDArray[np.integer], multiplicity: npt.NDArray[np.integer]) -> CompoundBatch:
        """The batch of these unique compounds, each standing `multiplicity` times in the expanded batch."""
        atoms, atom_offsets = ranges(self._graphs.atom_offsets, compounds)
        copies = np.repeat(multiplicity, np.diff(atom_offsets))
        ids, local = _distinct(self._graphs.atom_type[atoms], self._graphs.features.shape[0])
        features = torch.from_numpy(self._graphs.features[ids])
        layers, counts = [], []
        for level in self._levels:
            of_atom = level.of_atom[atoms]
            ids_above, local_above = _distinct(of_atom, level.n_environments)
            members, offsets = ranges(level.member_offsets, ids_above)
            layers.append(Bags.build(local[level.members[members]], offsets, ids.size))
            counts.append(_counts(local_above[of_atom], copies, ids_above.size))
            ids, local = ids_above, local_above
        pool = Bags.build(local[self._levels[-1].of_atom[atoms]], atom_offsets, ids.size)
        return CompoundBatch(features=features, layers=tuple(layers), pool=pool, counts=tuple(counts))


def _distinct(values: npt.NDArray[np.int32], n_values: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """The distinct values in order, and a table from value to its position among them."""
    present = np.zeros(n_values, dtype=bool)
    present[values] = True
    ids = np.flatnonzero(present)
    position = np.cumsum(present, dtype=np.int32) - 1
    return ids, position.astype(np.int32, copy=False)


def _counts(environment: npt.NDArray[np.int32], copies: npt.NDArray[np.integer], n_environments: int) -> Tensor:
    counts = np.bincount(environment, weights=copies, minlength=n_environments)
    return torch.from_numpy(counts.astype(np.float32))


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


class GinBranch(nn.Module):
    """Five GIN layers of width 32, each followed by ReLU and a norm, sum pooling and a linear map with ReLU.

    Nguyen et al. 2021 (GraphDTA), model GINConvNet; parameters carry its names.
    """

    def __init__(self, norm: Norm, n_out: int) -> None:
        super().__init__()
        for layer in range(1, N_LAYERS + 1):
            n_in = N_ATOM_FEATURES if layer == 1 else WIDTH
            self.add_module(f"conv{layer}", GinLayer(n_in, WIDTH))
            self.add_module(f"bn{layer}", make_norm(norm, WIDTH))
        self.fc1_xd = nn.Linear(WIDTH, n_out)

    def forward(self, batch: CompoundBatch) -> Tensor:
        """(n_compounds, n_out), before dropout."""
        dtype = self.fc1_xd.weight.dtype
        rows = batch.features.to(dtype)
        for layer, (bags, counts) in enumerate(zip(batch.layers, batch.counts, strict=True), start=1):
            rows = self.get_submodule(f"conv{layer}")(rows, bags).relu_()
            rows = self.get_submodule(f"bn{layer}")(rows, counts.to(dtype))
        return torch.relu(self.fc1_xd(bag_sum(rows, batch.pool)))
