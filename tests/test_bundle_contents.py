"""What a model taken home says of itself: network, calibration, domain and card are of the folds they should be."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from sklearn.metrics import roc_auc_score  # type: ignore[import-untyped]

from bundle_cases import FOLDS, NOW, SETTINGS, contents, home_of, partner_at, same
from pharmonia.base.errors import OptionError, PharmoniaError
from pharmonia.data.assays import Direction
from pharmonia.data.tasks import TaskKind
from pharmonia.evaluate.modelcard import ModelCard, decode_card, means
from pharmonia.evaluate.modelcard_text import render_card
from pharmonia.learn.multitask_data import predict_labels, task_places
from pharmonia.learn.multitask_network import trained_network
from pharmonia.run.bundle import CARD, MODEL, read_bundle, write_bundle
from pharmonia.run.bundle_export import Folds, TrainedPartner
from pharmonia.run.bundle_parts import BundleContents, network_of


@pytest.fixture(scope="module")
def partner(tmp_path_factory: pytest.TempPathFactory) -> TrainedPartner:
    return partner_at(home_of(tmp_path_factory))


@pytest.fixture(scope="module")
def made(partner: TrainedPartner) -> BundleContents:
    return contents(partner)


@pytest.fixture(scope="module")
def folder(made: BundleContents, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundles") / "acme"
    write_bundle(path, made)
    return path


def test_the_network_of_a_bundle_predicts_what_the_platform_predicted(partner: TrainedPartner, folder: Path) -> None:
    prepared = partner.prepared
    places = task_places(prepared, SETTINGS)
    everything = np.arange(len(prepared.labels))
    platform = trained_network(SETTINGS, places.sizes, partner.shared, partner.private)
    ours = network_of(read_bundle(folder).contents, "acme")
    np.testing.assert_array_equal(
        predict_labels(ours, prepared, places, everything), predict_labels(platform, prepared, places, everything)
    )


def test_weights_have_the_networks_names_and_any_safetensors_reader_finds_them(
    partner: TrainedPartner, folder: Path
) -> None:
    network = trained_network(SETTINGS, task_places(partner.prepared, SETTINGS).sizes, partner.shared, partner.private)
    weights = safetensors.numpy.load_file(folder / MODEL)
    state = network.state_dict()
    assert set(weights) == set(state)
    assert {"trunk.input.weight", "heads.classification.weight", "heads.catalogue_regression.centre"} <= set(weights)
    for name, tensor in state.items():
        np.testing.assert_array_equal(weights[name], tensor.numpy())


def test_calibration_is_of_the_validation_fold_and_the_scores_of_the_test_fold(
    partner: TrainedPartner, made: BundleContents
) -> None:
    prepared = partner.prepared
    places = task_places(prepared, SETTINGS)
    network = trained_network(SETTINGS, places.sizes, partner.shared, partner.private)
    valid, test = (prepared.in_folds(folds) for folds in (FOLDS.valid, FOLDS.test))
    in_valid, in_test = (predict_labels(network, prepared, places, rows) for rows in (valid, test))
    for number, task in enumerate(prepared.tasks):
        mine = prepared.labels.task[valid] == number
        card = made.card.tasks[number]
        scores = {score.metric: score for score in card.scores}
        assert card.n_calibration == mine.sum()
        tested = prepared.labels.task[test] == number
        if task.kind is TaskKind.REGRESSION:
            residual = np.sort(np.abs(prepared.labels.value[valid][mine].astype(float) - in_valid[mine]))
            start, stop = made.regression.offsets[number : number + 2]
            np.testing.assert_allclose(made.regression.residual[start:stop], residual)
            error = prepared.labels.value[test][tested] - in_test[tested]
            np.testing.assert_allclose(scores["rmse"].model, np.sqrt(np.mean(np.square(error))), rtol=1e-5)
        else:
            start, stop = made.classification.offsets[2 * number], made.classification.offsets[2 * number + 2]
            assert sorted(made.classification.probability[start:stop]) == sorted(in_valid[mine])
            truth = prepared.labels.value[test][tested]
            assert partner.alone is not None
            np.testing.assert_allclose(scores["auroc"].model, roc_auc_score(truth, in_test[tested]))
            np.testing.assert_allclose(scores["auroc"].alone, roc_auc_score(truth, partner.alone[tested]))


def test_labels_of_the_test_fold_change_nothing_but_scores(partner: TrainedPartner, made: BundleContents) -> None:
    labels = partner.prepared.labels
    value = labels.value.copy()
    test = partner.prepared.in_folds(FOLDS.test)
    is_class = np.array([task.kind is TaskKind.CLASSIFICATION for task in partner.prepared.tasks])[labels.task[test]]
    value[test] = np.where(is_class, 1 - value[test], value[test] + 3)
    other = contents(replace(partner, prepared=replace(partner.prepared, labels=replace(labels, value=value))))
    assert same(replace(other, card=made.card), made)
    assert other.card.encode() != made.card.encode()


def test_the_domain_is_the_columns_trained_on(partner: TrainedPartner, made: BundleContents) -> None:
    prepared = partner.prepared
    trained = np.unique(prepared.labels.compound[prepared.in_folds(FOLDS.train)])
    seen = set().union(*(prepared.features.row(row).tolist() for row in trained.tolist()))
    assert set(np.flatnonzero(made.domain.seen).tolist()) == seen
    novelty = made.domain.novelty_of(prepared.features)
    for row in range(prepared.n_compounds):
        columns = prepared.features.row(row)
        np.testing.assert_allclose(novelty[row], np.mean([column not in seen for column in columns.tolist()]))
    assert (novelty[trained] == 0).all()


def test_p_values_of_the_domain_by_hand(made: BundleContents) -> None:
    domain = replace(made.domain, novelty=np.array([0.0, 0.1, 0.1, 0.5]))
    np.testing.assert_allclose(domain.p_values(np.array([0.0, 0.1, 0.3, 0.9])), [5 / 5, 4 / 5, 2 / 5, 1 / 5])


def test_the_card_comes_back_as_it_was_written_and_is_read_by_people(made: BundleContents, folder: Path) -> None:
    card = decode_card((folder / CARD).read_bytes(), "card.json")
    assert card.encode() == made.card.encode()
    text = (folder / "CARD.md").read_text(encoding="utf-8")
    assert text == render_card(card)
    for words in ("# Model card: acme", "## What it is not for", "CC0", "| regression\\|kinase |", "2026-11-22 12:00"):
        assert words in text
    n_lines = sum(line.startswith(("| classification", "| regression")) for line in text.splitlines())
    assert n_lines == len(made.tasks)


def test_markup_in_a_name_stays_text_in_the_card(made: BundleContents) -> None:
    task = replace(made.card.tasks[0], task_id="a|b<script>\n# c", meaning="`x`")
    text = render_card(replace(made.card, tasks=(task,), partner="p\n\n# q"))
    assert "a\\|b&lt;script> # c" in text
    assert "# Model card: p # q\n" in text


def test_means_are_over_tasks_that_both_models_have(made: BundleContents) -> None:
    card: ModelCard = made.card
    classes = [task for task in card.tasks if task.kind == "classification"]
    model, alone, n_tasks = means(classes, "auroc")
    scores = [score for task in classes for score in task.scores if score.metric == "auroc"]
    assert n_tasks == len(scores)
    np.testing.assert_allclose(model, np.mean([score.model for score in scores]))
    np.testing.assert_allclose(alone, np.mean([score.alone for score in scores]))
    assert means(classes, "rmse")[2] == 0


def test_a_partner_without_a_model_of_its_own_has_no_score_beside(partner: TrainedPartner) -> None:
    card = contents(replace(partner, alone=None)).card
    assert all(np.isnan(score.alone) for task in card.tasks for score in task.scores)
    assert "Better than alone" not in render_card(card)


def test_a_task_says_what_a_prediction_means(made: BundleContents) -> None:
    by_id = {task.task_id: task for task in made.tasks}
    assert by_id["regression|kinase"].meaning == "the value in pIC50"
    assert by_id["regression|solubility"].meaning == "the value, in a unit that was not stated"
    active = next(task for task in made.tasks if task.assay_id == "kinase" and task.threshold)
    assert active.meaning == "the probability of 6 pIC50 or above"
    assert replace(active, direction=Direction.LOW).meaning == "the probability of 6 pIC50 or below"
    assert replace(active, direction=None).meaning == "the probability of 6 pIC50 (direction not recorded)"
    assert replace(active, threshold=None).meaning == "the probability of being active"


def test_what_does_not_belong_together_is_no_bundle(partner: TrainedPartner, made: BundleContents) -> None:
    attempts = (
        lambda: replace(partner, alone=np.zeros(3, dtype=np.float32)),
        lambda: replace(partner, recipe=replace(partner.recipe, rdkit="1")),
        lambda: contents(replace(partner, shared=partner.shared[:-1])),
        lambda: contents(replace(partner, private=partner.private[:-1])),
        lambda: contents(replace(partner, settings=replace(SETTINGS, catalogue_regression=()))),
        lambda: Folds(train=(0,), valid=(1,), test=(1,)),
        lambda: Folds(train=(0,), valid=(), test=(1,)),
        lambda: replace(made, tasks=made.tasks[::-1]),
        lambda: replace(made, settings=replace(SETTINGS, n_bits=64)),
        lambda: replace(made.card.provenance, created_at=datetime(2026, 1, 1)),
        lambda: replace(made.card.tasks[0], n_active=10**6),
    )
    for attempt in attempts:
        with pytest.raises(PharmoniaError):
            attempt()
    assert NOW.tzinfo is not None


def test_scaffold_vectors_with_control_variates_are_taken(partner: TrainedPartner, made: BundleContents) -> None:
    both = np.concatenate([partner.shared, np.ones_like(partner.shared)])
    found = contents(replace(partner, shared=both))
    for name, array in made.weights.items():
        np.testing.assert_array_equal(found.weights[name], array)


def test_an_option_error_names_the_lengths(partner: TrainedPartner) -> None:
    with pytest.raises(OptionError, match="private parameters, got"):
        contents(replace(partner, private=np.zeros(3)))
