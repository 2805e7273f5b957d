"""Sharing out many tasks: who has what, what is left out and why, and the proof that nothing leaks."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pharmonia.base.errors import PartitionError
from pharmonia.data.qsar import (
    TEST_FOLD,
    VALID_FOLD,
    PartnerShare,
    QsarWorld,
    Sharing,
    TaskQuorum,
    as_catalogue,
    blocks,
    check_leaks,
    common_tasks,
    label_owners,
    pooled_share,
    shares,
)
from pharmonia.data.qsar_sets import N_BITS
from pharmonia.learn.multitask_data import partner_tasks
from pharmonia.learn.multitask_settings import MultitaskSettings
from pharmonia.learn.settings import Optimiser
from pharmonia.nn.heads_names import HeadName
from qsar_cases import N_ASSAYS, world

WORLD = world()
LOOSE = TaskQuorum(train_class=1, train_values=1, test_class=1, test_values=1, test_std=0.0)


def owners(sharing: Sharing, n_partners: int, seed: int = 0) -> np.ndarray:
    return label_owners(WORLD, sharing, n_partners, np.random.default_rng(seed))


def values(label: np.ndarray) -> list[tuple[int, int, float]]:
    labels = WORLD.prepared.labels
    columns = (labels.compound[label], labels.task[label], labels.value[label])
    return sorted(zip(*(column.tolist() for column in columns), strict=True))


@settings(max_examples=20)
@given(sharing=st.sampled_from(list(Sharing)), n_partners=st.sampled_from([2, 3, 4]), seed=st.integers(0, 99))
def test_every_label_has_one_owner_and_partners_have_about_as_many(
    sharing: Sharing, n_partners: int, seed: int
) -> None:
    if sharing is Sharing.BOTH and n_partners != 4:
        return
    owner = owners(sharing, n_partners, seed)
    counts = np.bincount(owner, minlength=n_partners)
    assert owner.shape == (len(WORLD.prepared.labels),)
    assert counts.min() > 0.4 * counts.max()


@pytest.mark.parametrize("seed", range(3))
def test_by_scaffold_no_cluster_is_at_two_partners(seed: int) -> None:
    owner, cluster = owners(Sharing.SCAFFOLD, 4, seed), WORLD.cluster[WORLD.prepared.labels.compound]
    assert np.unique(np.stack([owner, cluster]), axis=1).shape[1] == np.unique(cluster).size


def test_by_assay_no_assay_is_at_two_partners_and_compounds_are_at_several() -> None:
    owner, labels = owners(Sharing.ASSAY, 4), WORLD.prepared.labels
    assay = WORLD.assay[labels.task]
    assert np.unique(np.stack([owner, assay]), axis=1).shape[1] == N_ASSAYS
    assert np.unique(np.stack([owner, labels.compound]), axis=1).shape[1] > 2 * WORLD.prepared.n_compounds


def test_blocks_divide_scaffolds_and_assays() -> None:
    owner, labels = owners(Sharing.BOTH, 4), WORLD.prepared.labels
    cluster_half, assay_half = owner // 2, owner % 2
    for half, group in ((cluster_half, WORLD.cluster[labels.compound]), (assay_half, WORLD.assay[labels.task])):
        assert np.unique(np.stack([half, group]), axis=1).shape[1] == np.unique(group).size


@pytest.mark.parametrize(("n", "expected"), [(4, (2, 2)), (6, (2, 3)), (10, (2, 5)), (9, (3, 3)), (12, (3, 4))])
def test_blocks_are_as_square_as_can_be(n: int, expected: tuple[int, int]) -> None:
    assert blocks(n) == expected


@pytest.mark.parametrize("n", [2, 3, 5, 7])
def test_a_number_that_is_no_product_makes_no_blocks(n: int) -> None:
    with pytest.raises(PartitionError, match="choose 4, 6, 8"):
        owners(Sharing.BOTH, n)


@pytest.mark.parametrize(
    ("sharing", "n_partners", "expected"),
    [(Sharing.ASSAY, 5, "5 partners cannot share 4 assays"), (Sharing.SCAFFOLD, 500, "clusters of scaffolds")],
)
def test_too_many_partners_are_refused(sharing: Sharing, n_partners: int, expected: str) -> None:
    with pytest.raises(PartitionError, match=expected):
        owners(sharing, n_partners)


@pytest.mark.parametrize("sharing", list(Sharing))
def test_shares_together_are_the_world_and_each_holds_its_own_compounds_only(sharing: Sharing) -> None:
    partners = shares(WORLD, owners(sharing, 4), 4, LOOSE)
    together = np.concatenate([share.label for share in partners])
    assert np.unique(together).size == together.size
    assert not any(one.is_trained is False for share in partners for one in share.left_out)
    assert together.size == len(WORLD.prepared.labels)
    features = WORLD.prepared.features
    for share in partners:
        own, labels = share.prepared, share.prepared.labels
        columns = (share.compound[labels.compound], share.task[labels.task], labels.value)
        assert sorted(zip(*(column.tolist() for column in columns), strict=True)) == values(share.label)
        for row in (0, own.n_compounds - 1):
            assert own.features.row(row).tolist() == features.row(int(share.compound[row])).tolist()
        np.testing.assert_array_equal(own.fold, WORLD.prepared.fold[share.compound])
        assert np.unique(labels.compound).size == own.n_compounds


def test_pooled_has_every_label() -> None:
    assert pooled_share(WORLD, owners(Sharing.SCAFFOLD, 4)).label.size == len(WORLD.prepared.labels)


def only(world: QsarWorld, task: int, keep: np.ndarray) -> QsarWorld:
    """The world without the labels of a task that are not kept."""
    labels = world.prepared.labels
    chosen = (labels.task != task) | keep
    kept = replace(labels, **{name: getattr(labels, name)[chosen] for name in ("compound", "task", "value", "censor")})
    return replace(world, prepared=replace(world.prepared, labels=kept))


def reasons(made: QsarWorld, quorum: TaskQuorum) -> dict[str, tuple[bool, str]]:
    share = shares(made, np.zeros(len(made.prepared.labels), dtype=np.int16), 1, quorum)[0]
    return {one.task_id: (one.is_trained, one.reason) for one in share.left_out}


FIRST = WORLD.prepared.tasks[0].task_id
VALUES = WORLD.prepared.tasks[2].task_id
LABELS = WORLD.prepared.labels
IN_TEST = WORLD.prepared.fold[LABELS.compound] == TEST_FOLD


@pytest.mark.parametrize(
    ("task", "keep", "expected"),
    [
        (0, ~IN_TEST, (FIRST, True, "no label in the test fold")),
        (0, IN_TEST, (FIRST, False, "no label in the training folds")),
        (0, (LABELS.value == 1) | IN_TEST, (FIRST, False, "one class in the training folds: ")),
        (0, (LABELS.value == 0) | ~IN_TEST, (FIRST, True, "one class in the test fold: 0 actives")),
        (2, ~IN_TEST, (VALUES, True, "0 unqualified values in the test fold")),
    ],
)
def test_a_task_without_labels_or_with_one_class_is_left_out_with_its_reason(
    task: int, keep: np.ndarray, expected: tuple[str, bool, str]
) -> None:
    task_id, is_trained, text = expected
    found = reasons(only(WORLD, task, keep), replace(LOOSE, test_values=2))
    assert found[task_id][0] is is_trained
    assert text in found[task_id][1]


def test_values_that_hardly_differ_are_trained_and_not_scored() -> None:
    found = reasons(WORLD, replace(LOOSE, test_std=1e6))
    assert found[VALUES][0]
    assert "standard deviation" in found[VALUES][1]


def test_a_task_that_is_not_scored_loses_its_aggregation_weight_and_an_auxiliary_one_never_had_any() -> None:
    share = shares(WORLD, np.zeros(len(LABELS), dtype=np.int16), 1, replace(LOOSE, test_std=1e6))[0]
    weights = {task.task_id: task.aggregation_weight for task in share.prepared.tasks}
    assert weights[FIRST] == 1.0
    assert weights[VALUES] == 0.0
    assert all(weight == 0.0 for name, weight in weights.items() if name.endswith("aux"))


PLAIN = MultitaskSettings(
    n_bits=N_BITS, trunk=(4,), head=(), dropout=0.0, regression_weight=0.5, catalogue_classification=(),
    catalogue_regression=(), optimiser=Optimiser.SGD, learning_rate=0.1, drop_round=1, batch_size=9, local_epochs=1,
)  # fmt: skip


def chosen_by(share: PartnerShare) -> dict[str, float]:
    """How much each task counts in the error by which a round is chosen."""
    folds = WORLD.train_folds
    data = partner_tasks(share.name, share.prepared, PLAIN, train_folds=folds, valid_folds=(VALID_FOLD,))
    at = zip(data.places.head.tolist(), data.places.column.tolist(), strict=True)
    found = [float(data.importance[list(HeadName)[head]][column]) for head, column in at]
    return {task.task_id: one for task, one in zip(share.prepared.tasks, found, strict=True)}


@pytest.mark.parametrize("test_value", [0.0, 1.0])
def test_labels_of_the_test_fold_never_change_how_a_round_is_chosen(test_value: float) -> None:
    owner, quorum = owners(Sharing.SCAFFOLD, 3), TaskQuorum(train_class=2, train_values=4, test_class=2, test_values=4)
    changed = replace(LABELS, value=np.where(IN_TEST, np.float32(test_value), LABELS.value))
    other = replace(WORLD, prepared=replace(WORLD.prepared, labels=changed))
    for as_it_was, now in zip(shares(WORLD, owner, 3, quorum), shares(other, owner, 3, quorum), strict=True):
        assert len(now.left_out) > len(as_it_was.left_out)  # less counts in the report
        assert chosen_by(now) == chosen_by(as_it_was)


def test_partners_and_the_pooled_data_choose_their_rounds_by_the_same_tasks() -> None:
    owner = owners(Sharing.SCAFFOLD, 3)
    expected = {task.task_id: 0.0 if task.auxiliary else 1.0 for task in WORLD.prepared.tasks}
    assert chosen_by(pooled_share(WORLD, owner)) == expected
    for share in shares(WORLD, owner, 3, replace(LOOSE, test_class=10**6, test_values=10**6)):
        assert chosen_by(share) == expected


def test_a_partner_that_can_train_nothing_is_refused() -> None:
    with pytest.raises(PartitionError, match="no label to train on"):
        shares(WORLD, owners(Sharing.SCAFFOLD, 4), 4, replace(LOOSE, train_class=10**6, train_values=10**6))


@pytest.mark.parametrize("sharing", list(Sharing))
def test_nobody_trains_on_what_anybody_is_tested_on(sharing: Sharing) -> None:
    partners = shares(WORLD, owners(sharing, 4), 4, LOOSE)
    found = check_leaks(WORLD, partners)
    fold = WORLD.prepared.fold[np.unique(LABELS.compound)]
    assert (found.n_common, found.n_common_scaffolds) == (0, 0)
    assert found.n_tested == int((fold == TEST_FOLD).sum())
    assert found.n_trained == int((fold != TEST_FOLD).sum())
    assert VALID_FOLD not in WORLD.train_folds
    assert found.trained_digest != found.tested_digest


def test_a_test_compound_that_another_partner_trains_on_is_found() -> None:
    partners = shares(WORLD, owners(Sharing.ASSAY, 4), 4, LOOSE)
    moved = np.where(partners[0].prepared.fold == TEST_FOLD, 1, partners[0].prepared.fold).astype(np.int8)
    leaky = replace(partners[0], prepared=replace(partners[0].prepared, fold=moved))  # prepared under another key
    with pytest.raises(PartitionError, match="under one key"):
        check_leaks(WORLD, [leaky, *partners[1:]])


def test_a_scaffold_on_both_sides_is_found() -> None:
    torn = replace(WORLD, scaffold=np.zeros_like(WORLD.scaffold), cluster=np.zeros_like(WORLD.cluster))
    with pytest.raises(PartitionError, match="1 scaffolds"):
        check_leaks(torn, shares(WORLD, owners(Sharing.SCAFFOLD, 4), 4, LOOSE))


def test_a_scaffold_in_two_clusters_is_refused() -> None:
    cluster = WORLD.cluster.copy()
    cluster[0] = cluster.max()
    with pytest.raises(PartitionError, match="two clusters"):
        replace(WORLD, cluster=cluster)


def test_tasks_that_several_partners_have_become_catalogue_tasks_and_no_others() -> None:
    by_scaffold = shares(WORLD, owners(Sharing.SCAFFOLD, 4), 4, LOOSE)
    by_assay = shares(WORLD, owners(Sharing.ASSAY, 4), 4, LOOSE)
    assert common_tasks(by_scaffold) == {task.task_id for task in WORLD.prepared.tasks}
    assert common_tasks(by_assay) == frozenset()
    made = as_catalogue(by_scaffold[0], frozenset({FIRST}))
    assert [task.catalogue_id for task in made.prepared.tasks if task.catalogue_id] == [FIRST]
