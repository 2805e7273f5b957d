"""Packed graphs against a plain restatement of GraphDTA's features."""

import numpy as np
import numpy.typing as npt
import pytest
from rdkit import Chem

from pharmonia.base.errors import CompoundError
from pharmonia.chem.graphs import MolGraphs, build_graphs
from pharmonia.data.interactions import EncodedInteractions

SYMBOLS = (
    "C N O S F Si P Cl Br Mg Na Ca Fe As Al I B V K Tl Yb Sb Sn Ag Pd Co Se Ti Zn H Li Ge Cu Au Ni Cd In Mn Zr Cr Pt "
    "Hg Pb Unknown"
)


def one_hot(value: object, choices: list[object]) -> list[float]:
    """GraphDTA's one-hot: what is not among the choices takes the last."""
    chosen = value if value in choices else choices[-1]
    return [float(chosen == choice) for choice in choices]


def plain_features(smiles: str) -> npt.NDArray[np.float64]:
    """(n_atoms, 78): GraphDTA's atom_features, each divided by its sum."""
    counts: list[object] = list(range(11))
    rows = []
    for atom in Chem.MolFromSmiles(smiles).GetAtoms():
        row = np.array(
            one_hot(atom.GetSymbol(), list(SYMBOLS.split(" ")))
            + one_hot(atom.GetDegree(), counts)
            + one_hot(atom.GetTotalNumHs(), counts)
            + one_hot(atom.GetImplicitValence(), counts)
            + [float(atom.GetIsAromatic())]
        )
        rows.append(row / sum(row))
    return np.array(rows)


def plain_edges(smiles: str) -> list[tuple[int, int]]:
    """Every bond both ways, sorted."""
    bonds = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in Chem.MolFromSmiles(smiles).GetBonds()]
    return sorted(bonds + [(end, begin) for begin, end in bonds])


def edges_of(graphs: MolGraphs, compound: int) -> list[tuple[int, int]]:
    first, last = graphs.atom_offsets[compound : compound + 2]
    edges = []
    for atom in range(first, last):
        around = graphs.neighbours[graphs.neighbour_offsets[atom] : graphs.neighbour_offsets[atom + 1]]
        edges += [(atom - int(first), int(other) - int(first)) for other in around]
    return sorted(edges)


def test_features_and_bonds_are_those_of_graphdta(kiba_sample: EncodedInteractions) -> None:
    graphs = kiba_sample.graphs
    for compound, smiles in enumerate(kiba_sample.interactions.smiles):
        atoms = graphs.atom_type[slice(*graphs.atom_offsets[compound : compound + 2])]
        np.testing.assert_array_equal(graphs.features[atoms], plain_features(smiles).astype(np.float32))
        assert edges_of(graphs, compound) == plain_edges(smiles)


def test_each_feature_row_is_held_once(kiba_sample: EncodedInteractions) -> None:
    features = kiba_sample.graphs.features
    assert np.unique(features, axis=0).shape == features.shape
    np.testing.assert_allclose(features.sum(axis=1), 1, rtol=1e-6)


def test_an_element_graphdta_does_not_list_takes_the_last_symbol() -> None:
    graphs = build_graphs(["[Xe]"])
    assert graphs.features[0, 43] > 0
    assert graphs.features[0, :43].sum() == 0


def test_taken_compounds_are_those_built_alone() -> None:
    smiles = ["CCO", "c1ccccc1", "C", "CC(=O)N", "[Na+].[Cl-]"]
    chosen = np.array([3, 1, 1, 4])
    taken, built = build_graphs(smiles).take(chosen), build_graphs([smiles[i] for i in chosen])
    for compound in range(chosen.size):
        assert edges_of(taken, compound) == edges_of(built, compound)
    np.testing.assert_array_equal(taken.features[taken.atom_type], built.features[built.atom_type])
    np.testing.assert_array_equal(taken.atom_offsets, built.atom_offsets)


def test_no_compounds_make_no_atoms() -> None:
    assert (build_graphs([]).n_compounds, build_graphs([]).n_atoms) == (0, 0)


def test_progress_is_told_of_each_compound() -> None:
    told = []
    build_graphs(["C", "CC"], tick=lambda: told.append(1))
    assert len(told) == 2


@pytest.mark.parametrize("smiles", ["not a molecule", "C(C)(C)(C)(C)C", "[U](F)(F)(F)(F)(F)(F)(F)(F)(F)(F)F", ""])
def test_what_is_no_compound_is_refused(smiles: str) -> None:
    with pytest.raises(CompoundError):
        build_graphs([smiles])


def test_arrays_that_do_not_fit_are_refused() -> None:
    good = build_graphs(["CCO"])
    parts = {name: getattr(good, name) for name in ("features", "atom_type", "neighbours", "neighbour_offsets")}
    for offsets in ([0, 4], [0, 2], [1, 3], []):
        with pytest.raises(CompoundError, match="inconsistent"):
            MolGraphs(atom_offsets=np.array(offsets, dtype=np.int64), **parts)
    with pytest.raises(CompoundError, match="inconsistent"):
        MolGraphs(atom_offsets=good.atom_offsets, **{**parts, "neighbours": np.array([1, 0, 2, 9], dtype=np.int32)})


def test_arrays_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        build_graphs(["CCO"]).atom_type[0] = 1
