"""Unique compounds as distinct atom environments, and, for networks that drop atoms' inputs, atom by atom."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pharmonia.base.errors import CompoundError
from pharmonia.chem.environments import refine
from pharmonia.chem.graphs import MolGraphs, ranges
from pharmonia.nn.bags import Bags


@dataclass(frozen=True, slots=True, eq=False)
class CompoundBatch:
    """The unique compounds of a batch, as sums over distinct environments.

    Args:
        features: (n_types, 78) atom feature rows in use.
        n_members: (n_types,) float32, an atom of each type and its neighbours: one more than its degree.
        layers: Per layer the environments that each environment of the next radius sums, its centre first.
        pool: Per compound the outermost environments of its atoms.
        counts: Per layer (n_environments,) float32: atoms of the expanded batch that each environment stands for.
    """

    features: Tensor
    n_members: Tensor
    layers: tuple[Bags, ...]
    pool: Bags
    counts: tuple[Tensor, ...]


class CompoundIndex:
    """Unique compounds prepared for batching: their distinct environments at each radius.

    Raises:
        CompoundError: Two atoms with equal features differ in their number of neighbours, which is a feature.
    """

    def __init__(self, graphs: MolGraphs, n_layers: int) -> None:
        self._graphs = graphs
        self._levels = refine(graphs, n_layers)
        degrees = np.diff(graphs.neighbour_offsets)
        self._degree_of_type = np.zeros(graphs.features.shape[0], dtype=np.int64)
        self._degree_of_type[graphs.atom_type] = degrees
        if not np.array_equal(self._degree_of_type[graphs.atom_type], degrees):
            raise CompoundError("atoms of one type differ in their number of neighbours, which is part of the type")

    def batch(self, compounds: npt.NDArray[np.integer], multiplicity: npt.NDArray[np.integer]) -> CompoundBatch:
        """The batch of these unique compounds, each standing `multiplicity` times in the expanded batch."""
        atoms, atom_offsets = ranges(self._graphs.atom_offsets, compounds)
        copies = np.repeat(multiplicity, np.diff(atom_offsets))
        ids, local = _distinct(self._graphs.atom_type[atoms], self._graphs.features.shape[0])
        features = torch.from_numpy(self._graphs.features[ids])
        n_members = torch.from_numpy((self._degree_of_type[ids] + 1).astype(np.float32))
        layers, counts = [], []
        for level in self._levels:
            of_atom = level.of_atom[atoms]
            ids_above, local_above = _distinct(of_atom, level.n_environments)
            members, offsets = ranges(level.member_offsets, ids_above)
            layers.append(Bags.build(local[level.members[members]], offsets, ids.size))
            counts.append(_counts(local_above[of_atom], copies, ids_above.size))
            ids, local = ids_above, local_above
        pool = Bags.build(local[self._levels[-1].of_atom[atoms]], atom_offsets, ids.size)
        return CompoundBatch(features, n_members, tuple(layers), pool, tuple(counts))


@dataclass(frozen=True, slots=True, eq=False)
class AtomBatch:
    """The atoms of a batch's compounds, once per row of the batch, as the plain formulation has them.

    Args:
        features: (n_types, 78) all atom feature rows.
        types: (n_atoms,) int64 into the feature rows.
        members: (n_members,) int64, per atom itself and its neighbours.
        offsets: (n_atoms + 1,) int64 into `members`.
        atom_offsets: (n_rows + 1,) int64, the atoms of each row of the batch.
    """

    features: Tensor
    types: Tensor
    members: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    atom_offsets: Tensor


def expand_atoms(graphs: MolGraphs, compound: npt.NDArray[np.integer]) -> AtomBatch:
    """The atoms of compound[i] for each row i of a batch; (n_rows,) indices, which may repeat."""
    atoms, atom_offsets = ranges(graphs.atom_offsets, compound)
    edges, edge_offsets = ranges(graphs.neighbour_offsets, atoms)
    offsets = edge_offsets + np.arange(atoms.size + 1)
    members = np.empty(int(offsets[-1]), dtype=np.int64)
    is_centre = np.zeros(members.size, dtype=bool)
    is_centre[offsets[:-1]] = True
    members[is_centre] = np.arange(atoms.size)
    shift = np.repeat(np.arange(atoms.size) - atoms, np.diff(edge_offsets))
    members[~is_centre] = graphs.neighbours[edges] + shift
    return AtomBatch(
        features=torch.from_numpy(graphs.features.copy()),
        types=torch.from_numpy(graphs.atom_type[atoms].astype(np.int64)),
        members=members,
        offsets=offsets,
        atom_offsets=torch.from_numpy(atom_offsets),
    )


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
