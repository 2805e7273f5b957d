"""Nobody trains on what anyone tests on, in every scenario and by every protocol."""

import dataclasses
import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interaction_cases import shared_out, small_interactions
from pharmonia.base.errors import PartitionError
from pharmonia.chem.scaffolds import murcko_scaffold
from pharmonia.data.interactions import EncodedInteractions, Interactions
from pharmonia.data.ownership import NOBODY
from pharmonia.data.partition import Partition
from pharmonia.data.splits import Part, Split, SplitKind, require_no_leak, split_rows
from scenario_cases import TEXTS

USED = (Part.TRAIN, Part.VALID, Part.TEST)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def structures(interactions: Interactions, rows: np.ndarray) -> list[str]:
    return [interactions.smiles[index] for index in interactions.pairs.compound[rows]]


def sequences(interactions: Interactions, rows: np.ndarray) -> list[str]:
    return [interactions.sequences[index] for index in interactions.pairs.target[rows]]


def assert_nothing_leaks(interactions: Interactions, kind: SplitKind, part: np.ndarray) -> None:
    """Compares structures and sequences as text, not by the indices that the split works with."""
    seen, tested = np.flatnonzero(np.isin(part, (Part.TRAIN, Part.VALID))), np.flatnonzero(part == Part.TEST)
    compounds = [set(structures(interactions, rows)) for rows in (seen, tested)]
    targets = [set(sequences(interactions, rows)) for rows in (seen, tested)]
    pairs = [
        set(zip(structures(interactions, rows), sequences(interactions, rows), strict=True)) for rows in (seen, tested)
    ]
    assert not pairs[0] & pairs[1]
    if kind in (SplitKind.COLD_COMPOUND, SplitKind.COLD_BOTH, SplitKind.COLD_SCAFFOLD):
        assert not compounds[0] & compounds[1]
    if kind in (SplitKind.COLD_TARGET, SplitKind.COLD_BOTH):
        assert not targets[0] & targets[1]
    if kind is SplitKind.COLD_SCAFFOLD:
        scaffolds = [{murcko_scaffold(text) for text in side} - {""} for side in compounds]
        assert not scaffolds[0] & scaffolds[1]


@given(
    kind=st.sampled_from(SplitKind), text=st.sampled_from(TEXTS), n_partners=st.integers(2, 4), seed=st.integers(0, 500)
)
@settings(max_examples=150)
def test_nobody_trains_on_what_anyone_tests_on(kind: SplitKind, text: str, n_partners: int, seed: int) -> None:
    interactions = small_interactions(n_rows=400, n_targets=20, folds=True, seed=seed)
    try:
        partition = shared_out(interactions, text, n_partners, rng(seed))
        split = split_rows(interactions, kind, partition, rng(seed + 1))
    except PartitionError as error:  # 12 compounds may be too few for everybody
        if "left with no" not in str(error) and "cannot share" not in str(error) and "must own a row" not in str(error):
            raise
        return
    assert_nothing_leaks(interactions, kind, split.part)
    for part in USED:
        assert set(partition.owner[split.part == part]) == set(range(n_partners))
    unowned = partition.owner == NOBODY
    assert (split.part[unowned] == Part.UNUSED).all()
    if kind is SplitKind.PUBLISHED:
        np.testing.assert_array_equal(split.part == Part.TEST, (interactions.fold == 0) & ~unowned)
    elif kind is not SplitKind.COLD_BOTH:
        np.testing.assert_array_equal(split.part == Part.UNUSED, unowned)


@pytest.mark.parametrize("kind", list(SplitKind))
@pytest.mark.parametrize("text", TEXTS)
def test_every_scenario_goes_with_every_protocol(text: str, kind: SplitKind, kiba_sample: EncodedInteractions) -> None:
    interactions = kiba_sample.interactions
    partition = shared_out(interactions, text, 4, rng())
    split = split_rows(interactions, kind, partition, rng(1))
    assert_nothing_leaks(interactions, kind, split.part)
    for part in USED:
        assert set(partition.owner[split.part == part]) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("kind", "digest"),
    [
        (SplitKind.PUBLISHED, "58f029a3726fcee1"),
        (SplitKind.RANDOM, "b573fe566ac0f601"),
        (SplitKind.COLD_TARGET, "b5c9c7f923989d14"),
        (SplitKind.COLD_COMPOUND, "58dc2f354f94e0d5"),
    ],
)
def test_the_splits_of_version_0_1_are_kept_bit_for_bit(
    kind: SplitKind, digest: str, kiba_sample: EncodedInteractions
) -> None:
    interactions = kiba_sample.interactions
    partition = shared_out(interactions, "target", 4, np.random.default_rng([0, 1]))
    split = split_rows(interactions, kind, partition, np.random.default_rng([0, 2]))
    assert hashlib.sha256(split.part.tobytes()).hexdigest()[:16] == digest


def test_rows_with_one_unseen_side_are_not_used_in_cold_both(kiba_sample: EncodedInteractions) -> None:
    interactions = kiba_sample.interactions
    partition = shared_out(interactions, "iid", 4, rng())
    split = split_rows(interactions, SplitKind.COLD_BOTH, partition, rng())
    tested = split.part == Part.TEST
    new = [np.isin(side, side[tested]) for side in (interactions.pairs.target, interactions.pairs.compound)]
    np.testing.assert_array_equal(tested, new[0] & new[1])
    assert (split.part[new[0] ^ new[1]] == Part.UNUSED).all()
    assert 0.03 < tested.mean() < 0.06
    valid, train = split.part == Part.VALID, split.part == Part.TRAIN
    assert not set(interactions.pairs.target[valid]) & set(interactions.pairs.target[train])


def test_a_master_tests_on_the_same_rows_whatever_the_others_bring(kiba_sample: EncodedInteractions) -> None:
    interactions = kiba_sample.interactions
    parts = []
    for text in ("weak:0.2", "weak:0.9"):
        partition = shared_out(interactions, text, 5, rng(7))
        parts.append(split_rows(interactions, SplitKind.RANDOM, partition, rng(8)).part[partition.owner == 0])
    np.testing.assert_array_equal(parts[0], parts[1])


@pytest.mark.parametrize(
    ("kind", "plant"),
    [
        (SplitKind.RANDOM, "pair"),
        (SplitKind.PUBLISHED, "pair"),
        (SplitKind.COLD_TARGET, "target"),
        (SplitKind.COLD_COMPOUND, "compound"),
        (SplitKind.COLD_SCAFFOLD, "scaffold"),
        (SplitKind.COLD_BOTH, "target"),
        (SplitKind.COLD_BOTH, "compound"),
    ],
)
@pytest.mark.parametrize("part", [Part.TRAIN, Part.VALID])
def test_a_planted_leak_is_found(kind: SplitKind, plant: str, part: Part, kiba_sample: EncodedInteractions) -> None:
    interactions = kiba_sample.interactions
    partition = shared_out(interactions, "target", 4, rng())
    split = split_rows(interactions, kind, partition, rng())
    require_no_leak(split, interactions)
    planted = np.array(split.part)
    victim = int(split.rows(Part.TEST)[0])
    if plant == "pair":  # another row of a tested pair: here, the same row listed again
        pairs = interactions.pairs.take(np.append(np.arange(len(interactions.pairs)), victim))
        interactions = dataclasses.replace(
            interactions, pairs=pairs, fold=np.append(interactions.fold, interactions.fold[victim])
        )
        planted = np.append(planted, np.int8(part))
    else:
        near = _rows_like(interactions, plant, victim)
        other = near[near != victim][0]
        planted[other] = part
    with pytest.raises(PartitionError, match=rf"what the split {kind} holds out; the first is row \d+"):
        require_no_leak(Split(kind=kind, part=planted), interactions)


def _rows_like(interactions: Interactions, plant: str, row: int) -> np.ndarray:
    pairs = interactions.pairs
    if plant == "target":
        return np.flatnonzero(pairs.target == pairs.target[row])
    if plant == "compound":
        return np.flatnonzero(pairs.compound == pairs.compound[row])
    scaffolds = np.array([murcko_scaffold(smiles) for smiles in interactions.smiles])[pairs.compound]
    return np.flatnonzero(scaffolds == scaffolds[row])


@pytest.mark.parametrize(
    ("kind", "by", "n_partners", "match"),
    [
        (
            SplitKind.COLD_BOTH,
            "target",
            9,
            "use fewer partners, another partition or the split cold-target",
        ),
        (SplitKind.COLD_TARGET, "target", 5, "or the split random or cold-compound"),
        (SplitKind.COLD_SCAFFOLD, "compound", 12, "or the split cold-compound"),
        (SplitKind.RANDOM, "iid", 150, "use fewer partners"),
    ],
)
def test_a_protocol_that_leaves_a_partner_without_rows_says_what_to_do(
    kind: SplitKind, by: str, n_partners: int, match: str
) -> None:
    interactions = small_interactions()
    partition = shared_out(interactions, by, n_partners, rng())
    with pytest.raises(PartitionError, match=rf"Partner \d+ is left with no \w+ row by the split {kind}; .*{match}"):
        split_rows(interactions, kind, partition, rng())


def test_a_data_set_that_nobody_owns_whole_can_still_be_split() -> None:
    interactions = small_interactions(n_rows=400)
    owner = np.full(400, NOBODY, dtype=np.int16)
    owner[100:200], owner[300:] = 0, 1
    split = split_rows(interactions, SplitKind.RANDOM, Partition(n_partners=2, owner=owner), rng())
    assert (split.part == Part.UNUSED).sum() == 200
    assert_nothing_leaks(interactions, SplitKind.RANDOM, split.part)
