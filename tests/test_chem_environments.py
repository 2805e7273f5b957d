"""Environments against neighbourhoods built recursively in plain Python."""

import numpy as np
import pytest

from pharmonia.chem.environments import Environments, refine
from pharmonia.chem.graphs import MolGraphs, build_graphs
from pharmonia.data.interactions import EncodedInteractions

RADIUS = 3


def around(graphs: MolGraphs, atom: int) -> list[int]:
    first, last = graphs.neighbour_offsets[atom : atom + 2]
    return [int(other) for other in graphs.neighbours[first:last]]


def plain_key(graphs: MolGraphs, atom: int, radius: int) -> str:
    """An atom's type and, sorted, the keys of its neighbours one radius smaller."""
    if radius == 0:
        return str(graphs.atom_type[atom])
    inner = sorted(plain_key(graphs, other, radius - 1) for other in around(graphs, atom))
    return f"({plain_key(graphs, atom, radius - 1)}:{','.join(inner)})"


def assert_equal_colour_iff_equal_key(graphs: MolGraphs, level: Environments, radius: int) -> None:
    pairs = {(int(level.of_atom[atom]), plain_key(graphs, atom, radius)) for atom in range(graphs.n_atoms)}
    colours, keys = {colour for colour, _ in pairs}, {key for _, key in pairs}
    assert len(pairs) == len(colours) == len(keys) == level.n_environments
    assert colours == set(range(level.n_environments))


@pytest.fixture(scope="module")
def graphs(kiba_sample: EncodedInteractions) -> MolGraphs:
    return kiba_sample.graphs.take(np.arange(0, 458, 6))


def test_equal_colour_if_and_only_if_equal_neighbourhood(graphs: MolGraphs) -> None:
    for radius, level in enumerate(refine(graphs, RADIUS), start=1):
        assert_equal_colour_iff_equal_key(graphs, level, radius)


def test_a_subset_is_refined_by_itself(graphs: MolGraphs) -> None:
    subset = graphs.take(np.array([5, 2, 2, 40]))
    for radius, level in enumerate(refine(subset, RADIUS), start=1):
        assert_equal_colour_iff_equal_key(subset, level, radius)


def test_members_are_the_centre_and_its_neighbours(graphs: MolGraphs) -> None:
    inner = graphs.atom_type
    for level in refine(graphs, RADIUS):
        for atom in range(graphs.n_atoms):
            first, last = level.member_offsets[level.of_atom[atom] : level.of_atom[atom] + 2]
            members = level.members[first:last]
            assert members[0] == inner[atom]
            assert sorted(members[1:]) == sorted(inner[around(graphs, atom)])
        inner = level.of_atom


def test_lone_atoms_have_an_environment_without_neighbours() -> None:
    (level,) = refine(build_graphs(["[Na+].[Cl-]", "[Na+]"]), 1)
    np.testing.assert_array_equal(level.of_atom, [0, 1, 0])
    np.testing.assert_array_equal(np.diff(level.member_offsets), [1, 1])


def test_no_atoms_have_no_environments() -> None:
    assert [level.n_environments for level in refine(build_graphs([]), 2)] == [0, 0]
