"""ECFP4 fingerprints."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator

from interaction_cases import SMILES
from pharmonia.base.errors import CompoundError
from pharmonia.chem.fingerprints import N_BITS, Fingerprints, ecfp4


def test_bits_are_those_of_rdkit() -> None:
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    dense = ecfp4(SMILES).as_csr().toarray()
    for row, smiles in enumerate(SMILES):
        expected = np.zeros(N_BITS)
        expected[list(generator.GetFingerprint(Chem.MolFromSmiles(smiles)).GetOnBits())] = 1
        np.testing.assert_array_equal(dense[row], expected)


def test_ethane_has_one_kind_of_atom_and_one_bond_around_it() -> None:
    """Two alike carbons: one environment of radius 0, one of radius 1, none larger."""
    fingerprints = ecfp4(["CC"])
    assert fingerprints.bits.shape == (1, 256)
    assert int(fingerprints.as_csr().sum()) == 2


def test_likeness_is_rdkits_tanimoto() -> None:
    a, b = ecfp4(["CC(=O)Oc1ccccc1C(=O)O", "Oc1ccccc1C(=O)O"]).as_csr().toarray()
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    one, two = (generator.GetFingerprint(Chem.MolFromSmiles(s)) for s in ("CC(=O)Oc1ccccc1C(=O)O", "Oc1ccccc1C(=O)O"))
    tanimoto = (a @ b) / (a.sum() + b.sum() - a @ b)
    assert tanimoto == pytest.approx(DataStructs.TanimotoSimilarity(one, two), abs=1e-6)


@given(st.lists(st.sampled_from(SMILES), max_size=6))
def test_a_compound_has_the_same_bits_in_any_company(smiles: list[str]) -> None:
    fingerprints = ecfp4(smiles)
    assert fingerprints.n_compounds == len(smiles)
    for row, text in enumerate(smiles):
        np.testing.assert_array_equal(fingerprints.bits[row], ecfp4([text]).bits[0])


def test_fingerprints_of_another_size_are_refused_and_theirs_are_read_only() -> None:
    with pytest.raises(CompoundError, match="256"):
        Fingerprints(bits=np.zeros((2, 128), dtype=np.uint8))
    assert not ecfp4(["CC"]).bits.flags.writeable


def test_what_is_no_molecule_has_no_fingerprint() -> None:
    with pytest.raises(CompoundError):
        ecfp4(["C1CC"])
