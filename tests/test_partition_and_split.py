"""Who owns what, and that nobody trains on what anyone tests on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interaction_cases import shared_out, small_encoded, small_interactions
from pharmonia.base.errors import PartitionError
from pharmonia.data.interactions import EncodedInteractions
from pharmonia.data.partition import Partition, majority_owner, overlap
from pharmonia.data.partner import partner_dataset
from pharmonia.data.splits import Part, SplitKind, split_rows


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(kind=st.sampled_from(["iid", "target", "compound"]), n_partners=st.integers(1, 9), seed=st.integers(0, 1000))
@settings(max_examples=60)
def test_every_row_has_one_owner_and_entities_stay_together(kind: str, n_partners: int, seed: int) -> None:
    interactions = small_interactions(seed=seed)
    partition = shared_out(interactions, kind, n_partners, rng(seed))
    assert partition.owner.size == len(interactions.pairs)
    assert set(partition.owner) == set(range(n_partners))
    match kind:
        case "iid":
            assert np.ptp(np.bincount(partition.owner)) <= 1
        case "target":
            assert len(set(zip(interactions.pairs.target, partition.owner, strict=True))) == interactions.n_targets
        case "compound":
            assert len(set(zip(interactions.pairs.compound, partition.owner, strict=True))) == interactions.n_compounds


@pytest.mark.parametrize("kind", ["iid", "target", "compound"])
def test_a_partition_repeats_with_its_seed(kind: str) -> None:
    interactions = small_interactions()
    first, again, other = (shared_out(interactions, kind, 3, rng(seed)).owner for seed in (4, 4, 5))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_targets_are_packed_into_nearly_equal_shares(kiba_sample: EncodedInteractions) -> None:
    partition = shared_out(kiba_sample.interactions, "target", 4, rng())
    rows = np.bincount(partition.owner)
    assert np.ptp(rows) <= np.bincount(kiba_sample.interactions.pairs.target).max()


@pytest.mark.parametrize(
    ("kind", "n_partners", "match"),
    [
        ("target", 10, "at most 9 partners"),
        ("compound", 13, "at most 12 partners"),
        ("iid", 161, "at most 160"),
        ("iid", 0, "1 to"),
    ],
)
def test_too_many_or_no_partners_are_refused(kind: str, n_partners: int, match: str) -> None:
    with pytest.raises(PartitionError, match=match):
        shared_out(small_interactions(), kind, n_partners, rng())


def test_a_partner_without_rows_is_refused() -> None:
    with pytest.raises(PartitionError, match="must own a row"):
        Partition(n_partners=2, owner=np.zeros(3, dtype=np.int16))


@pytest.mark.parametrize("owner", [[0, 1, 2], [0, 1, -2]])
def test_an_owner_who_is_no_partner_is_refused(owner: list[int]) -> None:
    with pytest.raises(PartitionError, match="owners must be"):
        Partition(n_partners=2, owner=np.array(owner, dtype=np.int16))


def test_rows_that_nobody_owns_count_for_nobody() -> None:
    interactions = small_interactions(n_rows=12, n_targets=2)
    owner = np.array([0, -1, 1, -1, 0, 0, 1, 1, -1, -1, -1, -1], dtype=np.int16)
    partition = Partition(n_partners=2, owner=owner)
    common = overlap(interactions, partition)
    assert np.diag(common.n_shared_compounds).tolist() == [3, 3]
    groups = np.array([0, 0, 1, 1, 1, 1, 2, 2, 2, 3, 3, 3])
    assert majority_owner(groups, 4, partition).tolist() == [0, 0, 1, -1]


def test_overlap_counts_what_two_partners_both_measured() -> None:
    interactions = small_interactions()
    partition = shared_out(interactions, "iid", 3, rng())
    common = overlap(interactions, partition)
    owned = [set(interactions.pairs.compound[partition.owner == partner]) for partner in range(3)]
    expected = [[len(a & b) for b in owned] for a in owned]
    np.testing.assert_array_equal(common.n_shared_compounds, expected)
    by_target = overlap(interactions, shared_out(interactions, "target", 3, rng()))
    assert by_target.n_shared_targets.sum() == np.trace(by_target.n_shared_targets) == 9


def test_rows_of_a_published_test_pair_are_not_trained_on() -> None:
    interactions = small_interactions(n_rows=400, folds=True)
    partition = shared_out(interactions, "iid", 2, rng())
    split = split_rows(interactions, SplitKind.PUBLISHED, partition, rng())
    keys = interactions.pair_keys()
    expected = np.isin(keys, keys[interactions.fold == 0]) & (interactions.fold != 0)
    np.testing.assert_array_equal(split.part == Part.UNUSED, expected)
    assert expected.any()


def test_shares_are_a_fifth_for_testing_and_a_tenth_of_the_rest(kiba_sample: EncodedInteractions) -> None:
    interactions = kiba_sample.interactions
    partition = shared_out(interactions, "target", 4, rng())
    split = split_rows(interactions, SplitKind.RANDOM, partition, rng())
    for partner in range(4):
        rows = np.bincount(split.part[partition.owner == partner], minlength=3)
        assert rows[Part.TEST] / rows.sum() == pytest.approx(0.2, abs=0.002)
        assert rows[Part.VALID] / (rows.sum() - rows[Part.TEST]) == pytest.approx(0.1, abs=0.003)


@pytest.mark.mirror
def test_kibas_published_fold_is_tested_on_and_its_202_leaked_rows_are_not_used(kiba: EncodedInteractions) -> None:
    partition = shared_out(kiba.interactions, "target", 8, rng())
    split = split_rows(kiba.interactions, SplitKind.PUBLISHED, partition, rng())
    assert [split.rows(part).size for part in (Part.TEST, Part.UNUSED)] == [19_709, 202]


def test_a_data_set_without_published_fold_says_so() -> None:
    interactions = small_interactions()
    partition = shared_out(interactions, "iid", 2, rng())
    with pytest.raises(PartitionError, match="no published fold"):
        split_rows(interactions, SplitKind.PUBLISHED, partition, rng())


def test_a_partner_with_too_few_targets_for_a_cold_split_is_named() -> None:
    interactions = small_interactions()
    partition = shared_out(interactions, "target", 9, rng())
    with pytest.raises(PartitionError, match=r"Partner \d is left with no (train|valid) row"):
        split_rows(interactions, SplitKind.COLD_TARGET, partition, rng())


def test_a_partner_holds_only_its_own_compounds_and_targets() -> None:
    encoded = small_encoded()
    pairs = encoded.interactions.pairs
    train, valid = np.array([5, 3, 40]), np.array([7])
    own = partner_dataset(encoded, "Partner 1", train=train, valid=valid)
    rows = np.array([5, 3, 40, 7])
    assert own.graphs.n_compounds == len(set(pairs.compound[rows]))
    assert own.tokens.shape[0] == len(set(pairs.target[rows]))
    np.testing.assert_array_equal(own.train.value, pairs.value[train])
    for mine, row in zip(range(3), train, strict=True):
        np.testing.assert_array_equal(own.tokens[own.train.target[mine]], encoded.tokens[pairs.target[row]])
        got = own.graphs.take(own.train.compound[[mine]])
        expected = encoded.graphs.take(pairs.compound[[row]])
        np.testing.assert_array_equal(got.features[got.atom_type], expected.features[expected.atom_type])
        np.testing.assert_array_equal(got.neighbours, expected.neighbours)


def test_a_partner_needs_training_and_validation_rows() -> None:
    with pytest.raises(PartitionError, match="Partner 1 needs"):
        partner_dataset(small_encoded(), "Partner 1", train=np.array([1]), valid=np.array([], dtype=np.int64))
