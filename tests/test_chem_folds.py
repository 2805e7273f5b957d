"""Keyed columns and folds: the same structures lie the same way at every partner, and only with the key."""

import hashlib
import hmac

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem, rdBase
from rdkit.Chem import rdMolDescriptors
from rdkit.Chem.Scaffolds import MurckoScaffold, rdScaffoldNetwork

from pharmonia.base.errors import CompoundError, OptionError
from pharmonia.chem.ecfp import Ecfp, keyed_ecfp
from pharmonia.chem.ecfp_matrix import CsrMatrix, EcfpSettings, permute_columns, stack_rows
from pharmonia.chem.folds import fold_scaffold, without_stereo
from pharmonia.chem.folds_settings import AcyclicRule, FoldMethod, FoldSettings, fold_label, folds_of
from pharmonia.chem.keyed import KEY_BYTES, PreparationKey
from pharmonia.chem.reference_structures import reference_structures
from pharmonia.data.interactions import EncodedInteractions

KEY = PreparationKey(secret=bytes(range(KEY_BYTES)))
OTHER = PreparationKey(secret=bytes(KEY_BYTES))
SMILES = (
    "CC(=O)Oc1ccccc1C(=O)O",
    "CN1CCCC1c1cccnc1",
    "CC(C)Cc1ccc(C(C)C(=O)O)cc1",
    "c1ccc(-c2ccc(-c3ccc(-c4ccccc4)cc3)cc2)cc1",
    "C[C@]12CCC(=O)C=C1CC[C@@H]1[C@@H]2CC[C@]2(C)[C@@H](O)CC[C@@H]12",
    "CN1CCC23C4C1CC5=C2C(=C(C=C5)O)OC3C(C=C4)O",
    "O=C(NC1CC2CCC1C2)c1cc2ccccc2n1Cc1ccc(-c2ccccc2)cc1",
    "C1CC2(C1)CCN(Cc1ccc3c(c1)OCO3)CC2",
    "O=C1CCCCCCCCCCCN1Cc1ccc2ncc(-c3ccncc3)cc2c1",
    "CCCCO",
)
MANY_RINGS = (
    *SMILES,
    "c1ccc2c(c1)[nH]c1c2CCN2CC3CCCCC3CC12",
    "O=C(c1ccc(-c2cnc3[nH]ccc3c2)cc1)N1CCC2(CC1)OCCO2",
    "c1ccc(CN2CCC(n3c(C4CC4)nc4cnc5[nH]ccc5c43)CC2)cc1",
    "C1CC2CC1C1C3CCC(C3)C21",
)


def plain_permutation(key: PreparationKey, n: int) -> np.ndarray:
    """Rank of HMAC-SHA256(key, str(i)) mod 2^63, as PEERS' authors publish it."""
    codes = [int.from_bytes(hmac.new(key.secret, str(i).encode(), hashlib.sha256).digest(), "big") for i in range(n)]
    return np.argsort(np.argsort([code % 2**63 for code in codes]))


def plain_scaffold(smiles: str) -> str:
    """The rules one after the other over the whole network, every property of every node."""
    scaffold = MurckoScaffold.GetScaffoldForMol(Chem.MolFromSmiles(smiles))  # type: ignore[no-untyped-call]
    murcko = Chem.MolToSmiles(scaffold)
    parsed = Chem.MolFromSmiles(murcko)
    if not murcko or rdMolDescriptors.CalcNumRings(parsed) <= 3:
        return murcko
    params = rdScaffoldNetwork.ScaffoldNetworkParams()
    for name in ("includeGenericScaffolds", "includeGenericBondScaffolds", "includeScaffoldsWithAttachments"):
        setattr(params, name, False)
    nodes = [str(node) for node in rdScaffoldNetwork.CreateScaffoldNetwork([parsed], params).nodes]
    return min(nodes, key=_plain_rank)


def _plain_rank(smiles: str) -> tuple[object, ...]:
    node = Chem.MolFromSmiles(smiles)
    sizes = [len(ring) for ring in node.GetRingInfo().AtomRings()]
    return (
        abs(len(sizes) - 3),
        not any(size > 9 for size in sizes),
        rdMolDescriptors.CalcNumRotatableBonds(node, strict=False),
        -rdMolDescriptors.CalcNumBridgeheadAtoms(node),
        -rdMolDescriptors.CalcNumSpiroAtoms(node),
        not any(size < 5 or size > 6 for size in sizes),
        -rdMolDescriptors.CalcNumHeterocycles(node),
        rdMolDescriptors.CalcNumAromaticRings(node),
        smiles,
    )


@pytest.mark.parametrize("key", [KEY, OTHER])
def test_the_permutation_is_the_published_one(key: PreparationKey) -> None:
    np.testing.assert_array_equal(key.permutation(1000), plain_permutation(key, 1000))


@given(n=st.integers(1, 300))
@settings(max_examples=20)
def test_every_column_has_one_place(n: int) -> None:
    assert sorted(KEY.permutation(n).tolist()) == list(range(n))


def test_another_key_puts_columns_and_folds_elsewhere() -> None:
    assert (KEY.permutation(1000) != OTHER.permutation(1000)).mean() > 0.99
    labels = [f"scaffold {i}" for i in range(500)]
    assert 0.7 < (folds_of(labels, KEY, 5) != folds_of(labels, OTHER, 5)).mean() < 0.9


def test_equal_commitments_mean_equal_keys() -> None:
    assert KEY.commitment() == PreparationKey(secret=bytes(range(KEY_BYTES))).commitment() != OTHER.commitment()


def test_a_key_never_prints_itself() -> None:
    assert KEY.secret.hex() not in repr(KEY)
    assert str(KEY.secret) not in repr(KEY)


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(OptionError, match="32 bytes"):
        PreparationKey(secret=b"short")


def test_folds_are_even() -> None:
    counts = np.bincount(folds_of([f"scaffold {i}" for i in range(10_000)], KEY, 5), minlength=5)
    assert counts.min() > 1_900
    assert counts.max() < 2_100


def test_a_fold_is_the_scaled_start_of_the_hash() -> None:
    digest = hmac.new(KEY.secret, b"pharmonia fold v1\x00scaffold x", hashlib.sha256).digest()
    assert KEY.fold("scaffold x", 5) == int(int.from_bytes(digest[:8], "big") / 2**64 * 5)


@pytest.mark.parametrize("smiles", SMILES)
def test_columns_are_rdkits_hashed_environments(smiles: str) -> None:
    with rdBase.BlockLogs():
        plain = rdMolDescriptors.GetHashedMorganFingerprint(Chem.MolFromSmiles(smiles), 3, 32_000).GetNonzeroElements()
    assert Ecfp(EcfpSettings()).columns(Chem.MolFromSmiles(smiles)).tolist() == sorted(plain)
    assert Ecfp(EcfpSettings()).columns_of(Chem.CanonSmiles(smiles)).tolist() == sorted(plain)  # type: ignore[no-untyped-call]


def test_reading_rdkits_smiles_unsanitised_changes_no_column(kiba_sample: EncodedInteractions) -> None:
    ecfp = Ecfp(EcfpSettings())
    with rdBase.BlockLogs():
        read = [Chem.MolFromSmiles(text) for text in (*kiba_sample.interactions.smiles, *reference_structures()[::3])]
    for parsed in filter(None, read):
        form = Chem.MolToSmiles(parsed)
        assert ecfp.columns_of(form).tolist() == ecfp.columns(Chem.MolFromSmiles(form)).tolist()


def test_a_text_that_is_no_molecule_has_no_columns() -> None:
    with pytest.raises(CompoundError):
        Ecfp(EcfpSettings()).columns_of("CC(")


def test_keyed_fingerprints_equal_permuting_bit_by_bit() -> None:
    permutation = plain_permutation(KEY, 512)
    matrix = keyed_ecfp(SMILES, EcfpSettings(n_bits=512), KEY)
    ecfp = Ecfp(EcfpSettings(n_bits=512))
    for row, smiles in enumerate(SMILES):
        assert matrix.row(row).tolist() == sorted(int(permutation[bit]) for bit in ecfp.columns_of(smiles))


@given(rows=st.lists(st.sets(st.integers(0, 49)), max_size=8))
def test_permuting_keeps_every_row_and_its_size(rows: list[set[int]]) -> None:
    matrix = stack_rows([np.array(sorted(row), dtype=np.int32) for row in rows], 50)
    moved = permute_columns(matrix, KEY)
    back = np.argsort(KEY.permutation(50))
    for number, row in enumerate(rows):
        assert {int(back[column]) for column in moved.row(number)} == row


@pytest.mark.parametrize(
    ("indptr", "indices", "match"),
    [
        ([0, 2], [1, 1], "ascending"),
        ([0, 2], [2, 1], "ascending"),
        ([0, 1], [5], "does not have"),
        ([0, 1], [-1], "does not have"),
        ([0, 3], [1], "offsets"),
        ([1, 1], [1], "offsets"),
        ([0, 2, 1, 2], [1, 2], "offsets"),
    ],
)
def test_arrays_that_are_no_sparse_matrix_are_refused(indptr: list[int], indices: list[int], match: str) -> None:
    with pytest.raises(CompoundError, match=match):
        CsrMatrix(indptr=np.array(indptr, np.int64), indices=np.array(indices, np.int32), n_columns=5)


@pytest.mark.parametrize("smiles", MANY_RINGS)
def test_scaffolds_follow_the_rules_one_by_one(smiles: str) -> None:
    assert fold_scaffold(Chem.MolFromSmiles(smiles), 3) == plain_scaffold(smiles)


def test_a_scaffold_of_few_rings_is_the_murcko_scaffold() -> None:
    assert fold_scaffold(Chem.MolFromSmiles("CC(=O)Oc1ccccc1C(=O)O"), 3) == "c1ccccc1"
    assert fold_scaffold(Chem.MolFromSmiles("CCCCO"), 3) == ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("O=C1N[C@@H](c2ccccc2)Cc2ccccc21", "O=C1N[C@H](c2ccccc2)Cc2ccccc21"),
        ("C[C@H]1CC[C@@H](c2ccccc2)CC1", "C[C@H]1CC[C@H](c2ccccc2)CC1"),
        ("C(/c1ccccc1)=C/c1ccccc1", "C(/c1ccccc1)=C\\c1ccccc1"),
        (SMILES[4], SMILES[4].replace("@@", "_").replace("@", "@@").replace("_", "@")),
    ],
)
def test_stereo_has_no_part_in_a_scaffold(one: str, other: str) -> None:
    assert Chem.CanonSmiles(one) != Chem.CanonSmiles(other)  # type: ignore[no-untyped-call]
    scaffold = fold_scaffold(Chem.MolFromSmiles(one), 3)
    assert scaffold == fold_scaffold(Chem.MolFromSmiles(other), 3)
    assert not set(scaffold) & set("@/\\")


@pytest.mark.parametrize("smiles", MANY_RINGS)
def test_a_form_without_stereo_keeps_its_scaffold_and_its_own_text(smiles: str) -> None:
    form = Chem.MolToSmiles(Chem.MolFromSmiles(smiles), isomericSmiles=False)
    murcko = Chem.MolToSmiles(MurckoScaffold.GetScaffoldForMol(Chem.MolFromSmiles(form)))  # type: ignore[no-untyped-call]
    assert fold_scaffold(Chem.MolFromSmiles(form), 99) == murcko
    assert without_stereo(form) == form


SUBSTITUENTS = ("C", "CC", "O", "Cl", "F", "C(F)(F)F", "C#N", "N", "OC", "C(=O)O", "S(N)(=O)=O", "[N+](=O)[O-]")


@given(first=st.sampled_from(SUBSTITUENTS), second=st.sampled_from(SUBSTITUENTS))
@settings(max_examples=40)
def test_variations_on_one_ring_system_share_a_fold_at_two_partners(first: str, second: str) -> None:
    folds = []
    for substituent in (first, second):  # each at its own partner, who has the key and nothing else in common
        smiles = f"c1ccc2nc({substituent})ccc2c1"
        scaffold = fold_scaffold(Chem.MolFromSmiles(smiles), 3)
        label = fold_label(scaffold, smiles, np.zeros(0, np.int32), FoldSettings())
        folds.append(PreparationKey(secret=KEY.secret).fold(label, 5))
    assert folds[0] == folds[1]


def test_acyclic_compounds_share_a_fold_only_where_the_profile_says_so() -> None:
    none = np.zeros(0, np.int32)
    apart, together = FoldSettings(), FoldSettings(acyclic=AcyclicRule.ONE_FOLD)
    assert fold_label("", "CCO", none, apart) != fold_label("", "CCN", none, apart)
    assert fold_label("", "CCO", none, together) == fold_label("", "CCN", none, together)


def test_the_hash_of_fingerprints_reads_its_columns_only() -> None:
    settings_ = FoldSettings(method=FoldMethod.LSH, lsh_bits=(3, 5, 8))
    labels = {fold_label("x", "y", np.array(row, np.int32), settings_) for row in ([3, 4], [3, 9], [3])}
    assert labels == {"lsh 100"}
    assert fold_label("x", "y", np.array([5, 8], np.int32), settings_) == "lsh 011"


@pytest.mark.parametrize("wrong", [{"n_folds": 1}, {"n_folds": 101}, {"n_rings": 0}, {"lsh_bits": (1, 1)}])
def test_settings_of_folds_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(OptionError):
        FoldSettings(**wrong)  # type: ignore[arg-type]
