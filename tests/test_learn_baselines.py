"""Baselines without a neural network."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interaction_cases import shared_out, small_interactions
from pharmonia.base.errors import DataFileError
from pharmonia.data.interactions import EncodedInteractions, Interactions, Pairs
from pharmonia.data.splits import Part, SplitKind, split_rows
from pharmonia.evaluate.metrics import score
from pharmonia.learn.baselines import SHRINKAGE, AdditiveModel, BoostedModel, fit_additive, fit_boosted, fit_mean

Fit = Callable[[Interactions, np.ndarray], AdditiveModel | BoostedModel]
FITS: list[Fit] = [fit_mean, fit_additive, lambda interactions, rows: fit_boosted(interactions, rows, 0)]


def random_split(interactions: Interactions, kind: SplitKind = SplitKind.RANDOM) -> tuple[np.ndarray, Pairs]:
    rng = np.random.default_rng(0)
    split = split_rows(interactions, kind, shared_out(interactions, "iid", 2, rng), rng)
    return split.rows(Part.TRAIN), interactions.pairs.take(split.rows(Part.TEST))


def with_other_values(interactions: Interactions, rows: np.ndarray) -> Interactions:
    value = np.array(interactions.pairs.value)
    value[rows] += 100
    return dataclasses.replace(interactions, pairs=dataclasses.replace(interactions.pairs, value=value))


def test_the_mean_is_the_mean_of_the_training_rows() -> None:
    interactions = small_interactions()
    model = fit_mean(interactions, np.array([3, 5, 7]))
    expected = interactions.pairs.value[[3, 5, 7]].astype(np.float64).mean()
    np.testing.assert_allclose(model.predict(interactions.pairs), expected)


def test_two_rows_of_one_compound_by_hand() -> None:
    """Values 1 and 3, mean 2, residuals -1 and +1 of two targets: b = -+1 / (1 + 1) and a = 0."""
    interactions = small_interactions(n_rows=2, n_targets=2)
    pairs = Pairs(
        compound=np.zeros(2, np.int32), target=np.arange(2, dtype=np.int32), value=np.array([1, 3], np.float32)
    )
    model = fit_additive(dataclasses.replace(interactions, pairs=pairs), np.arange(2))
    assert model.mean == 2.0
    np.testing.assert_allclose(model.target_effect, [-1 / 2, 1 / 2], rtol=1e-12)
    np.testing.assert_allclose(model.compound_effect, 0, atol=1e-15)


@given(seed=st.integers(0, 1000))
@settings(max_examples=20)
def test_the_additive_model_is_ridge_regression(seed: int) -> None:
    interactions = small_interactions(seed=seed)
    train = np.random.default_rng(seed).choice(160, size=70, replace=False)
    pairs = interactions.pairs.take(train)
    design = np.zeros((70, 12 + 9))
    design[np.arange(70), pairs.compound] = 1
    design[np.arange(70), 12 + pairs.target] = 1
    values = pairs.value.astype(np.float64)
    system = design.T @ design + SHRINKAGE * np.eye(21)
    effects = np.linalg.solve(system, design.T @ (values - values.mean()))
    model = fit_additive(interactions, train)
    np.testing.assert_allclose(np.concatenate((model.compound_effect, model.target_effect)), effects, atol=1e-10)


def test_a_compound_and_target_that_nobody_trained_on_get_the_mean() -> None:
    interactions = small_interactions()
    pairs = interactions.pairs
    train = np.flatnonzero((pairs.compound != 4) & (pairs.target != 2))
    model = fit_additive(interactions, train)
    new = Pairs(compound=np.array([4], np.int32), target=np.array([2], np.int32), value=np.zeros(1, np.float32))
    assert model.predict(new)[0] == model.mean


@pytest.mark.parametrize("fit", FITS)
def test_nothing_is_learnt_from_rows_that_are_not_trained_on(fit: Fit) -> None:
    interactions = small_interactions()
    train, held_out = np.arange(100), np.arange(100, 160)
    one, two = fit(interactions, train), fit(with_other_values(interactions, held_out), train)
    np.testing.assert_array_equal(one.predict(interactions.pairs), two.predict(interactions.pairs))


@pytest.mark.parametrize("fit", FITS)
def test_no_training_row_is_refused(fit: Fit) -> None:
    with pytest.raises(DataFileError, match="at least one training row"):
        fit(small_interactions(), np.array([], dtype=np.int64))


def test_the_decompositions_see_the_training_rows_compounds_alone() -> None:
    interactions = small_interactions()
    train = np.flatnonzero(interactions.pairs.compound < 6)
    others = (*interactions.smiles[:6], *("CCCCCC" + "N" * n for n in range(1, 7)))
    one, two = (
        fit_boosted(data, train, 0) for data in (interactions, dataclasses.replace(interactions, smiles=others))
    )
    known = interactions.pairs.take(train)
    np.testing.assert_array_equal(one.predict(known), two.predict(known))


def test_boosting_repeats_with_its_seed() -> None:
    interactions = small_interactions()
    one, two = (fit_boosted(interactions, np.arange(120), 5).predict(interactions.pairs) for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_on_new_pairs_boosting_beats_the_additive_model_and_that_the_mean(kiba_sample: EncodedInteractions) -> None:
    interactions = kiba_sample.interactions
    train, test = random_split(interactions)
    models = (fit_boosted(interactions, train, 0), fit_additive(interactions, train), fit_mean(interactions, train))
    errors = [score(test.value, model.predict(test)).mse for model in models]
    assert errors[0] < errors[1] < errors[2]


def test_on_new_compounds_and_targets_the_additive_model_is_the_mean(kiba_sample: EncodedInteractions) -> None:
    """The embedded sample's published test fold shares no compound and no target with the other folds."""
    interactions = kiba_sample.interactions
    train, test = random_split(interactions, SplitKind.PUBLISHED)
    additive, mean = (fit(interactions, train).predict(test) for fit in (fit_additive, fit_mean))
    np.testing.assert_array_equal(additive, mean)


@pytest.mark.mirror
def test_the_additive_model_goes_far_on_kibas_published_fold(kiba: EncodedInteractions) -> None:
    interactions = kiba.interactions
    tested = interactions.fold == 0
    keys = interactions.pair_keys()
    train = np.flatnonzero(~np.isin(keys, keys[tested]))
    test = interactions.pairs.take(np.flatnonzero(tested))
    constant = score(test.value, fit_mean(interactions, train).predict(test))
    additive = score(test.value, fit_additive(interactions, train).predict(test))
    assert constant.mse == pytest.approx(0.680, abs=0.001)
    assert additive.mse == pytest.approx(0.350, abs=0.001)
    assert additive.ci == pytest.approx(0.781, abs=0.001)
