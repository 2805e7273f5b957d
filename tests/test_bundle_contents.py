"""What a model taken home says of itself: network, calibration, domain and card are of the folds they should be."""

import hmac
import json
import struct
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow.csv as pa_csv
import pytest
import safetensors.numpy
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator
from sklearn.metrics import roc_auc_score  # type: ignore[import-untyped]

from bundle_cases import FOLDS, NOW, SETTINGS, contents, home_of, partner_at, reader, same
from pharmonia.base.canonical import canonical_json
from pharmonia.base.errors import BundleError, CacheError, OptionError, PharmoniaError, RecipeError
from pharmonia.chem.ecfp_matrix import EnvironmentRows
from pharmonia.chem.keyed import PreparationKey
from pharmonia.data.assays import Direction
from pharmonia.data.tasks import TaskKind
from pharmonia.evaluate.modelcard import ModelCard, decode_card, means
from pharmonia.evaluate.modelcard_text import render_card
from pharmonia.learn.multitask_data import predict_labels, task_places
from pharmonia.learn.multitask_network import trained_network
from pharmonia.run.bundle import CARD, MODEL, read_bundle, write_bundle
from pharmonia.run.bundle_export import Folds, TrainedPartner
from pharmonia.run.bundle_parts import BundleContents, network_of
from pharmonia.run.delivered import DeliveredModel
from pharmonia.run.predict_domain import Domain, domain_of
from pharmonia.run.prepare_files import write_prepared
from pharmonia.run.site_scores import _of_tasks
from prepare_cases import KEY


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


def test_a_site_s_scores_count_values_and_bounds_apart(partner: TrainedPartner) -> None:
    prepared = partner.prepared
    is_value = np.array([task.kind is TaskKind.REGRESSION for task in prepared.tasks])[prepared.labels.task]
    censor = np.where(is_value & (np.arange(is_value.size) % 3 > 0), -1, 0).astype(np.int8)
    bounded = replace(prepared, labels=replace(prepared.labels, censor=censor))
    model = DeliveredModel(plan="a" * 64, best_round=0, parameters=partner.shared)
    found = _of_tasks(SETTINGS, model, partner.private, bounded, {"test": FOLDS.test})
    test = prepared.in_folds(FOLDS.test)
    names = [task.task_id for task in prepared.tasks]
    for score in found:
        mine = test[prepared.labels.task[test] == names.index(score.task)]
        assert (score.n_rows, score.n_bounds) == ((censor[mine] == 0).sum(), (censor[mine] != 0).sum())
    assert any(score.n_bounds for score in found)
    assert all(score.n_bounds == 0 for score in found if score.metric == "auroc")


def test_labels_of_the_test_fold_change_nothing_but_scores(partner: TrainedPartner, made: BundleContents) -> None:
    labels = partner.prepared.labels
    value = labels.value.copy()
    test = partner.prepared.in_folds(FOLDS.test)
    is_class = np.array([task.kind is TaskKind.CLASSIFICATION for task in partner.prepared.tasks])[labels.task[test]]
    value[test] = np.where(is_class, 1 - value[test], value[test] + 3)
    other = contents(replace(partner, prepared=replace(partner.prepared, labels=replace(labels, value=value))))
    assert same(replace(other, card=made.card), made)
    assert other.card.encode() != made.card.encode()


def environments_of(smiles: str) -> set[int]:
    """RDKit's own codes, neither folded nor keyed."""
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=3)
    return set(generator.GetSparseCountFingerprint(Chem.MolFromSmiles(smiles)).GetNonzeroElements())


def test_the_domain_is_the_environments_trained_on(
    partner: TrainedPartner, made: BundleContents, tmp_path_factory: pytest.TempPathFactory
) -> None:
    listed = pa_csv.read_csv(home_of(tmp_path_factory) / "prepared" / "compounds.csv").to_pydict()
    forms = dict(zip(listed["row"], listed["standard_smiles"], strict=True))
    prepared = partner.prepared
    trained = np.unique(prepared.labels.compound[prepared.in_folds(FOLDS.train)]).tolist()
    seen = set().union(*(environments_of(forms[row]) for row in trained))
    assert made.domain is not None
    assert made.domain.seen.size == len(seen) == made.card.n_environments
    assert partner.environments is not None
    novelty = made.domain.novelty_of(partner.environments)
    for row, form in forms.items():
        found = environments_of(form)
        np.testing.assert_allclose(novelty[row], len(found - seen) / len(found))
    calibration = np.unique(prepared.labels.compound[prepared.in_folds(FOLDS.valid)])
    np.testing.assert_array_equal(made.domain.novelty, np.sort(novelty[calibration]))


def test_a_compound_whose_columns_are_all_taken_is_novel_all_the_same() -> None:
    known = EnvironmentRows(indptr=np.array([0, 64]), codes=np.arange(64, dtype=np.uint32))
    domain = domain_of(known.keyed(KEY), np.array([0]), np.array([0]))
    other = EnvironmentRows(indptr=np.array([0, 64]), codes=np.arange(1000, 1064, dtype=np.uint32))
    assert np.unique(known.folded(16).indices).size == 16
    np.testing.assert_array_equal(domain.novelty_of(known.keyed(KEY)), [0.0])
    np.testing.assert_array_equal(domain.novelty_of(other.keyed(KEY)), [1.0])


def test_the_environments_in_a_bundle_are_under_the_key() -> None:
    codes = np.array([7, 7, 4179862704], dtype=np.uint32)
    wanted = [
        int.from_bytes(hmac.digest(KEY.secret, b"pharmonia environment v1\x00" + struct.pack("<I", code), "sha256")[:4],
                       "little")
        for code in codes.tolist()
    ]  # fmt: skip
    assert KEY.environments(codes).tolist() == wanted
    rows = EnvironmentRows(indptr=np.array([0, 1, 3]), codes=codes)
    assert rows.keyed(KEY).codes.tolist() == wanted


def test_p_values_of_the_domain_by_hand(made: BundleContents) -> None:
    domain = Domain(seen=np.zeros(0, dtype=np.uint32), novelty=np.array([0.0, 0.1, 0.1, 0.5]))
    np.testing.assert_allclose(domain.p_values(np.array([0.0, 0.1, 0.3, 0.9])), [5 / 5, 4 / 5, 2 / 5, 1 / 5])
    assert domain.can_reject(0.2)
    assert not domain.can_reject(0.19)


def test_without_environments_the_domain_is_not_known_and_the_card_says_so(partner: TrainedPartner) -> None:
    found = contents(replace(partner, environments=None))
    assert found.domain is None
    assert found.card.n_environments is None
    assert "no prediction is marked" in render_card(found.card)
    assert decode_card(found.card.encode(), "card.json").n_environments is None


def test_prepared_compounds_are_read_once_more_only_where_nothing_changed(
    partner: TrainedPartner, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    home = home_of(tmp_path_factory)
    folder = tmp_path / "prepared"
    write_prepared(folder, partner.prepared, partner.recipe, {})
    assert reader(home).environments(folder, partner.prepared, partner.recipe) is None  # no forms were kept
    other = replace(reader(home), key=PreparationKey(secret=bytes(32)))
    with pytest.raises(RecipeError, match="another preparation key"):
        other.environments(home / "prepared", partner.prepared, partner.recipe)
    text = (home / "prepared" / "compounds.csv").read_text()
    for found, error, message in (
        (text.replace(',"Cc1ccccc1"', ',"Cc1ccncc1"', 1), RecipeError, "makes other columns"),
        (text[: text.index("\n") + 1], CacheError, "does not have the rows"),
        (text.replace("row", "place", 1), CacheError, "damaged"),
    ):
        (folder / "compounds.csv").write_text(found)
        with pytest.raises(error, match=message):
            reader(home).environments(folder, partner.prepared, partner.recipe)


def test_the_card_comes_back_as_it_was_written_and_is_read_by_people(made: BundleContents, folder: Path) -> None:
    card = decode_card((folder / CARD).read_bytes(), "card.json")
    assert card.encode() == made.card.encode()
    text = (folder / "CARD.md").read_text(encoding="utf-8")
    assert text == render_card(card)
    for words in ("# Model card: acme", "## What it is not for", "CC0", "| regression\\|kinase ", "2026-11-22 12:00"):
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
    classes = [replace(task, is_counted=True) for task in card.tasks if task.kind == "classification"]
    model, alone, n_tasks = means(classes, "auroc")
    scores = [score for task in classes for score in task.scores if score.metric == "auroc"]
    assert n_tasks == len(scores)
    np.testing.assert_allclose(model, np.mean([score.model for score in scores]))
    np.testing.assert_allclose(alone, np.mean([score.alone for score in scores]))
    assert means(classes, "rmse")[2] == 0
    some = [replace(task, is_counted=number == 1) for number, task in enumerate(classes)]
    assert means(some, "auroc") == (scores[1].model, scores[1].alone, 1)


def test_a_task_that_helps_training_only_is_marked_and_counts_in_no_mean(
    partner: TrainedPartner, made: BundleContents
) -> None:
    counted = [task.aggregation_weight > 0 for task in partner.prepared.tasks]
    assert [task.is_counted for task in made.card.tasks] == counted
    assert not all(counted)
    lines = [line for line in render_card(made.card).splitlines() if line.startswith(("| class", "| regr"))]
    by_kind = sorted(zip(made.card.tasks, counted, strict=True), key=lambda pair: pair[0].kind)
    assert [" \\* |" not in line for line in lines] == [count for _, count in by_kind]
    scores = [task.scores for task in made.card.tasks if task.kind == "classification" and task.is_counted]
    mean = np.mean([score.model for task in scores for score in task if score.metric == "auroc"])
    assert f"over {len(scores)} classification tasks: {mean:.3f};" in render_card(made.card)


def test_bounds_neither_calibrate_nor_are_counted_as_if_they_did(partner: TrainedPartner) -> None:
    prepared = partner.prepared
    is_value = np.array([task.kind is TaskKind.REGRESSION for task in prepared.tasks])[prepared.labels.task]
    censor = np.where(is_value & (np.arange(is_value.size) % 3 > 0), -1, prepared.labels.censor).astype(np.int8)
    found = contents(replace(partner, prepared=replace(prepared, labels=replace(prepared.labels, censor=censor))))
    for number, task in enumerate(found.card.tasks):
        mine = prepared.labels.task == number
        exact = mine & (~is_value | (censor == 0))
        for count, folds in ((task.n_calibration, FOLDS.valid), (task.n_test, FOLDS.test)):
            assert count == exact[prepared.in_folds(folds)].sum()
        assert task.n_train == mine[prepared.in_folds(FOLDS.train)].sum()
        if task.kind == "regression":
            assert task.n_calibration == np.diff(found.regression.offsets)[number]
            assert task.n_active == exact[prepared.in_folds(FOLDS.train)].sum() < task.n_train


def test_a_partner_without_a_model_of_its_own_has_no_score_beside(partner: TrainedPartner) -> None:
    card = contents(replace(partner, alone=None)).card
    assert all(np.isnan(score.alone) for task in card.tasks for score in task.scores)
    assert "Better than alone" not in render_card(card)
    assert "in brackets" not in render_card(card)
    assert "in brackets, the partner's own model alone" in render_card(contents(partner).card)


def test_a_card_of_an_earlier_bundle_is_read(made: BundleContents) -> None:
    document = json.loads(made.card.encode())
    del document["n_environments"]
    for task in document["tasks"]:
        del task["is_counted"]
    card = decode_card(canonical_json(document), "card.json")
    assert card.n_environments is None
    assert all(task.is_counted for task in card.tasks)
    with pytest.raises(BundleError, match="is no model card"):
        decode_card(canonical_json({**document, "other": 1}), "card.json")


def test_a_task_says_what_a_prediction_means(made: BundleContents) -> None:
    by_id = {task.task_id: task for task in made.tasks}
    assert by_id["regression|kinase"].meaning(by_size=False) == "the value in pIC50"
    assert by_id["regression|solubility"].meaning(by_size=False) == "the value, in a unit that was not stated"
    active = next(task for task in made.tasks if task.assay_id == "kinase" and task.threshold)
    assert active.meaning(by_size=False) == "the probability of 6 pIC50 or above"
    assert replace(active, direction=Direction.LOW).meaning(by_size=False) == "the probability of 6 pIC50 or below"
    assert (
        replace(active, direction=None).meaning(by_size=False) == "the probability of 6 pIC50 (direction not recorded)"
    )
    either = replace(active, direction=Direction.EITHER)
    assert either.meaning(by_size=False) == "the probability of 6 pIC50 or above"
    assert either.meaning(by_size=True) == "the probability of 6 pIC50 or above, in size"
    assert replace(active, threshold=None).meaning(by_size=False) == "the probability of being active"


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
