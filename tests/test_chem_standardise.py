"""Canonical SMILES: one compound, one string."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem

from pharmonia.base.errors import CompoundError
from pharmonia.chem.standardise import canonical_smiles
from pharmonia.data.interactions import EncodedInteractions
from pharmonia.run.datasets import load

SMILES = load("kiba-sample").interactions.smiles


@settings(max_examples=60)
@given(smiles=st.sampled_from(SMILES), seed=st.integers(1, 2**31 - 1))
def test_any_way_to_write_a_compound_gives_the_same_smiles(smiles: str, seed: int) -> None:
    (written,) = Chem.MolToRandomSmilesVect(Chem.MolFromSmiles(smiles), 1, randomSeed=seed)
    assert canonical_smiles(written) == canonical_smiles(smiles)


def test_the_embedded_smiles_are_canonical(kiba_sample: EncodedInteractions) -> None:
    assert [canonical_smiles(one) for one in kiba_sample.interactions.smiles] == list(kiba_sample.interactions.smiles)


def test_stereochemistry_tells_compounds_apart() -> None:
    assert canonical_smiles("C[C@H](N)O") != canonical_smiles("C[C@@H](N)O")


def test_surrounding_space_does_not_matter() -> None:
    assert canonical_smiles(" OCC\n") == "CCO"


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("C" * 5_001, "5001 characters"),
        ("CCO ethanol", "white space"),
        ("CC(", "cannot read"),
        ("C(C)(C)(C)(C)C", "cannot read"),
        ("é", "cannot read"),
        ("CCO\0C", "cannot read"),
        ("[U](F)(F)(F)(F)(F)(F)(F)(F)(F)(F)F", "11 neighbours"),
    ],
)
def test_what_is_no_compound_is_refused_with_its_reason(smiles: str, reason: str) -> None:
    with pytest.raises(CompoundError, match=reason):
        canonical_smiles(smiles)
