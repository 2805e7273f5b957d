"""Compounds as packed molecular graphs with GraphDTA's 78 atom features."""

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rdkit import Chem

from pharmonia.base.arrays import frozen_view
from pharmonia.base.errors import CompoundError
from pharmonia.chem.standardise import MAX_DEGREE, molecule

# fmt: off
SYMBOLS = (
    "C", "N", "O", "S", "F", "Si", "P", "Cl", "Br", "Mg", "Na", "Ca", "Fe", "As", "Al", "I", "B", "V", "K",
    "Tl", "Yb", "Sb", "Sn", "Ag", "Pd", "Co", "Se", "Ti", "Zn", "H", "Li", "Ge", "Cu", "Au", "Ni", "Cd",
    "In", "Mn", "Zr", "Cr", "Pt", "Hg", "Pb", "Unknown",
)
# fmt: on
N_COUNTS = MAX_DEGREE + 1  # degree, hydrogens and implicit valence are each one-hot over 0..10
N_ATOM_FEATURES = len(SYMBOLS) + 3 * N_COUNTS + 1

Indices = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]
AtomKind = tuple[str, int, int, int, bool]  # symbol, degree, hydrogens, implicit valence, aromatic

_SYMBOL_INDEX = {symbol: index for index, symbol in enumerate(SYMBOLS)}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MolGraphs:
    """Graphs of unique compounds, packed: each distinct atom feature row is held once.

    Args:
        features: (n_types, 78) float32, distinct atom feature rows, each summing to 1.
        atom_type: (n_atoms,) int32, the feature row of each atom.
        atom_offsets: (n_compounds + 1,) int64; atoms of compound c are atom_offsets[c]:atom_offsets[c + 1].
        neighbours: (2 * n_bonds,) int32, atom indices over all compounds, bonds both ways.
        neighbour_offsets: (n_atoms + 1,) int64 into `neighbours`.

    Raises:
        CompoundError: The arrays do not describe graphs.
    """

    features: npt.NDArray[np.float32]
    atom_type: Indices
    atom_offsets: Offsets
    neighbours: Indices
    neighbour_offsets: Offsets

    def __post_init__(self) -> None:
        n_atoms = self.atom_type.size
        consistent = (
            self.features.ndim == 2
            and self.features.shape[1] == N_ATOM_FEATURES
            and _covers(self.atom_offsets, n_atoms)
            and _covers(self.neighbour_offsets, self.neighbours.size)
            and self.neighbour_offsets.size == n_atoms + 1
            and _within(self.atom_type, self.features.shape[0])
            and _within(self.neighbours, n_atoms)
        )
        if not consistent:
            raise CompoundError("the packed graphs are inconsistent: offsets, types and neighbours do not match")
        for name in ("features", "atom_type", "atom_offsets", "neighbours", "neighbour_offsets"):
            object.__setattr__(self, name, frozen_view(getattr(self, name)))

    @property
    def n_compounds(self) -> int:
        """Number of compounds."""
        return self.atom_offsets.size - 1

    @property
    def n_atoms(self) -> int:
        """Number of atoms over all compounds."""
        return self.atom_type.size

    def take(self, compounds: npt.NDArray[np.integer]) -> "MolGraphs":
        """The graphs of the compounds at these indices, in this order, with atoms renumbered."""
        atoms, atom_offsets = ranges(self.atom_offsets, compounds)
        edges, neighbour_offsets = ranges(self.neighbour_offsets, atoms)
        new_index = np.zeros(self.n_atoms, dtype=np.int32)
        new_index[atoms] = np.arange(atoms.size, dtype=np.int32)
        shift = np.arange(atoms.size, dtype=np.int32) - new_index[atoms]  # for a compound that is taken twice
        return MolGraphs(
            features=self.features,
            atom_type=self.atom_type[atoms],
            atom_offsets=atom_offsets,
            neighbours=new_index[self.neighbours[edges]] + np.repeat(shift, np.diff(neighbour_offsets)),
            neighbour_offsets=neighbour_offsets,
        )


def ranges(offsets: Offsets, rows: npt.NDArray[np.integer]) -> tuple[npt.NDArray[np.int64], Offsets]:
    """Flat indices of the given rows of a ragged array, and the offsets of the result.

    Returns:
        (n_values,) int64 and (n_rows + 1,) int64.
    """
    lengths = offsets[rows + 1] - offsets[rows]
    new_offsets = np.zeros(rows.size + 1, dtype=np.int64)
    np.cumsum(lengths, out=new_offsets[1:])
    flat = np.arange(new_offsets[-1]) + np.repeat(offsets[rows] - new_offsets[:-1], lengths)
    return flat, new_offsets


def build_graphs(smiles: Sequence[str], *, tick: Callable[[], None] | None = None) -> MolGraphs:
    """Packed graphs of compounds, in order.

    Nguyen et al. 2021 (GraphDTA): symbol one of 44, degree, hydrogens and implicit valence 0..10, aromatic;
    each row divided by its sum. Unknown symbols and counts over 10 take the last slot; a degree over 10 is
    refused.

    Args:
        smiles: One per compound, as `canonical_smiles` gives them.
        tick: Called once per compound, for a progress bar.

    Raises:
        CompoundError: Not a molecule, or an atom has more than ten neighbours.
    """
    kinds: dict[AtomKind, int] = {}
    atom_type, neighbours, degrees, sizes = array("i"), array("i"), array("i"), array("i")
    for text in smiles:
        first = len(atom_type)
        parsed = molecule(text)
        for atom in parsed.GetAtoms():
            atom_type.append(kinds.setdefault(_kind(atom), len(kinds)))
            around = [first + other.GetIdx() for other in atom.GetNeighbors()]
            neighbours.extend(around)
            degrees.append(len(around))
        sizes.append(parsed.GetNumAtoms())
        if tick:
            tick()
    return MolGraphs(
        features=_feature_rows(kinds),
        atom_type=np.array(atom_type, dtype=np.int32),
        atom_offsets=_offsets(sizes),
        neighbours=np.array(neighbours, dtype=np.int32),
        neighbour_offsets=_offsets(degrees),
    )


def _kind(atom: Chem.Atom) -> AtomKind:
    implicit = atom.GetValence(Chem.ValenceType.IMPLICIT)
    return (atom.GetSymbol(), atom.GetDegree(), atom.GetTotalNumHs(), implicit, atom.GetIsAromatic())


def _feature_rows(kinds: Iterable[AtomKind]) -> npt.NDArray[np.float32]:
    rows = []
    for symbol, degree, hydrogens, implicit, aromatic in kinds:
        row = np.zeros(N_ATOM_FEATURES, dtype=np.float64)
        row[_SYMBOL_INDEX.get(symbol, len(SYMBOLS) - 1)] = 1
        for block, count in enumerate((degree, hydrogens, implicit)):
            row[len(SYMBOLS) + block * N_COUNTS + min(count, N_COUNTS - 1)] = 1
        row[-1] = aromatic
        rows.append(row / row.sum())
    return np.array(rows, dtype=np.float32).reshape(-1, N_ATOM_FEATURES)


def _offsets(lengths: Sequence[int]) -> Offsets:
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(np.array(lengths, dtype=np.int64), out=offsets[1:])
    return offsets


def _covers(offsets: Offsets, n_values: int) -> bool:
    return offsets.size >= 1 and offsets[0] == 0 and offsets[-1] == n_values and bool((np.diff(offsets) >= 0).all())


def _within(indices: Indices, size: int) -> bool:
    return indices.size == 0 or (int(indices.min()) >= 0 and int(indices.max()) < size)
