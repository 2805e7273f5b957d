"""Scaffolds of compounds and families of targets."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pharmonia.base.errors import CompoundError
from pharmonia.chem.families import MIN_SIMILARITY, RESIDUES, family_groups, kmer_profiles, sequence_similarity
from pharmonia.chem.scaffolds import murcko_scaffold, scaffold_groups
from pharmonia.data.interactions import EncodedInteractions

# UniProt accessions of kinases in families that everyone names; not all are in KIBA.
KINASES = {
    "CDK": "P24941 P06493 Q00535 P11802 Q00534",
    "AKT": "P31749 P31751 Q9Y243",
    "JAK": "P23458 O60674 P52333 P29597",
    "SRC": "P12931 P06239 P06241 P07948 P08631 P07947",
    "P38": "Q16539 Q15759 P53778 O15264",
    "JNK": "P45983 P45984 P53779",
    "PKC": "P17252 P05771 P05129 Q05655 Q02156 Q04759 P24723",
    "ERBB": "P00533 P04626 Q15303",
    "PI3K": "P42336 P42338 O00329 P48736",
    "AURK": "O14965 Q96GD4",
    "FGFR": "P11362 P21802 P22607 P22455",
    "VEGFR": "P35968 P17948 P35916",
    "CK2": "P68400 P19784",
    "PIM": "P11309 Q9P1W9 Q86V86",
    "GSK3": "P49840 P49841",
    "ROCK": "Q13464 O75116",
    "ERK": "P27361 P28482",
    "TRK": "P04629 Q16620 Q16288",
    "EPH": "P54764 P29317 P54762 P54756 P29320 P29323 P54760",
    "PDGFR": "P09619 P16234 P10721 P07333 P36888",
}


@pytest.mark.parametrize(
    ("smiles", "scaffold"),
    [
        ("Cc1ccccc1", "c1ccccc1"),
        ("CC(=O)Nc1ccc(O)cc1", "c1ccccc1"),
        ("O=C(NCc1ccccc1)c1ccncc1", "O=C(NCc1ccccc1)c1ccncc1"),
        ("C[C@H]1CCCC[C@@H]1N", "C1CCCCC1"),
        ("CCO", ""),
    ],
)
def test_the_scaffold_is_the_rings_and_what_joins_them(smiles: str, scaffold: str) -> None:
    assert murcko_scaffold(smiles) == scaffold


def test_compounds_of_one_scaffold_are_one_group_and_acyclic_ones_are_alone() -> None:
    smiles = ("Cc1ccccc1", "CCO", "Oc1ccccc1", "CCN", "C1CCCCC1")
    groups = scaffold_groups(smiles).tolist()
    assert groups[0] == groups[2]
    assert len(set(groups)) == 4
    assert set(groups) == {0, 1, 2, 3}


def test_what_is_no_molecule_has_no_scaffold() -> None:
    with pytest.raises(CompoundError):
        scaffold_groups(("CCO", "C1CC"))


def test_groups_are_read_only() -> None:
    assert not scaffold_groups(("CCO", "CCN")).flags.writeable
    assert not family_groups(("ACDEF", "MKVLA")).flags.writeable


def test_profiles_of_kmers_by_hand() -> None:
    """ACAC: AC twice, CA once; length sqrt(5). AXC has no 2-mer of residues, A is too short."""
    profiles = kmer_profiles(["ACAC", "AXC", "A"], 2).toarray()
    ac, ca = (RESIDUES.index(a) + 20 * RESIDUES.index(c) for a, c in ("AC", "CA"))
    assert profiles.shape == (3, 400)
    assert profiles[0, ac] == pytest.approx(2 / np.sqrt(5))
    assert profiles[0, ca] == pytest.approx(1 / np.sqrt(5))
    assert np.count_nonzero(profiles) == 2


@given(st.lists(st.text(RESIDUES, min_size=1, max_size=60), min_size=1, max_size=12, unique=True))
@settings(max_examples=60)
def test_each_two_members_of_a_family_are_alike(sequences: list[str]) -> None:
    similarity = sequence_similarity(sequences)
    groups = family_groups(tuple(sequences))
    alike = groups[:, None] == groups[None, :]
    assert similarity[alike].min() >= MIN_SIMILARITY - 1e-9
    assert set(groups) == set(range(groups.max() + 1))
    np.testing.assert_allclose(similarity, similarity.T)


@pytest.mark.mirror
def test_the_families_of_kiba_are_those_of_kinase_biology(kiba: EncodedInteractions) -> None:
    """All 106 pairs within the named families come together; across them, only p38 with JNK, both MAP kinases."""
    groups = family_groups(kiba.interactions.sequences)
    group_of = {
        name: group
        for names, group in zip(kiba.interactions.target_ids, groups.tolist(), strict=True)
        for name in names.split(";")
    }
    family_of = {name: family for family, members in KINASES.items() for name in members.split() if name in group_of}
    pairs = list(itertools.combinations(family_of, 2))
    together = [(a, b) for a, b in pairs if group_of[a] == group_of[b]]
    within = [(a, b) for a, b in pairs if family_of[a] == family_of[b]]
    assert len(within) == 106
    assert set(within) <= set(together)
    across = set(together) - set(within)
    assert {(family_of[a], family_of[b]) for a, b in across} == {("P38", "JNK")}
    assert (groups.max() + 1, np.bincount(groups).max()) == (101, 8)
