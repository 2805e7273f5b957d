"""A model is taken home whole, with what it needs to be used and judged, and nothing that tells of structures."""

import contextlib
import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from sklearn.metrics import roc_auc_score  # type: ignore[import-untyped]

from bundle_cases import FOLDS, NOW, SETTINGS, SMILES, contents, few_references, prepare_partner, trained_partner
from pharmonia.base.canonical import canonical_json
from pharmonia.base.errors import BundleError, InputError, OptionError, PharmoniaError
from pharmonia.data.assays import Direction
from pharmonia.data.tasks import TaskKind
from pharmonia.evaluate.modelcard import ModelCard, decode_card, means
from pharmonia.evaluate.modelcard_text import render_card
from pharmonia.learn.multitask_data import predict_labels, task_places
from pharmonia.learn.multitask_network import trained_network
from pharmonia.run.bundle import CARD, MANIFEST, MODEL, TASKS, _manifest, read_bundle, write_bundle
from pharmonia.run.bundle_export import Folds, TrainedPartner
from pharmonia.run.bundle_parts import BundleContents, network_of
from pharmonia.run.bundle_tasks import decode_bundle_tasks, decode_settings, encode_bundle_tasks, encode_settings
from prepare_cases import KEY


@pytest.fixture(scope="module")
def partner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrainedPartner]:
    with pytest.MonkeyPatch.context() as patch:
        few_references(patch)
        yield trained_partner(*prepare_partner(tmp_path_factory.mktemp("partner")))


@pytest.fixture(scope="module")
def made(partner: TrainedPartner) -> BundleContents:
    return contents(partner)


@pytest.fixture(scope="module")
def folder(made: BundleContents, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundles") / "acme"
    write_bundle(path, made)
    return path


Pair = tuple[np.ndarray, np.ndarray]


def same(one: BundleContents, other: BundleContents) -> bool:
    pairs: list[tuple[np.ndarray, np.ndarray]] = [
        (one.weights[name], other.weights[name]) for name in sorted({*one.weights, *other.weights})
    ]
    pairs += [
        (one.classification.offsets, other.classification.offsets),
        (one.classification.probability, other.classification.probability),
        (one.regression.offsets, other.regression.offsets),
        (one.regression.residual, other.regression.residual),
        (one.domain.seen, other.domain.seen),
        (one.domain.novelty, other.domain.novelty),
    ]
    plain = ("settings", "tasks", "recipe")
    return (
        all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in pairs)
        and all(getattr(one, name) == getattr(other, name) for name in plain)
        and one.card.encode() == other.card.encode()
    )


@pytest.mark.parametrize("name", ["acme", "acme.zip"])
def test_a_bundle_reads_as_it_was_written(made: BundleContents, tmp_path: Path, name: str) -> None:
    digest = write_bundle(tmp_path / name, made)
    found = read_bundle(tmp_path / name)
    assert found.digest == digest
    assert same(found.contents, made)


def test_equal_contents_give_equal_bytes(partner: TrainedPartner, tmp_path: Path) -> None:
    digests = [write_bundle(tmp_path / name, contents(partner)) for name in ("a.zip", "b.zip", "c", "d")]
    assert len(set(digests)) == 1
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    for path in sorted((tmp_path / "c").iterdir()):
        assert path.read_bytes() == (tmp_path / "d" / path.name).read_bytes()


def test_the_zip_is_the_folder_stored_as_it_is(made: BundleContents, folder: Path, tmp_path: Path) -> None:
    write_bundle(tmp_path / "acme.zip", made)
    with zipfile.ZipFile(tmp_path / "acme.zip") as packed:
        assert sorted(packed.namelist()) == sorted(path.name for path in folder.iterdir())
        for info in packed.infolist():
            assert info.compress_type == zipfile.ZIP_STORED
            assert packed.read(info) == (folder / info.filename).read_bytes()


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


def test_neither_structures_nor_identifiers_nor_the_key_are_in_a_bundle(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        for text in SMILES:
            assert len(text) < 6 or text.encode() not in content, path.name
        assert KEY.secret not in content
        assert KEY.secret.hex().encode() not in content
    assert KEY.commitment().encode() in (folder / "recipe.json").read_bytes()


@pytest.mark.parametrize("packed", [False, True])
def test_every_changed_byte_is_noticed_and_its_file_named(
    made: BundleContents, folder: Path, tmp_path: Path, packed: bool
) -> None:
    for victim in sorted(path.name for path in folder.iterdir()):
        content = (folder / victim).read_bytes()
        for place in sorted({0, len(content) // 3, len(content) // 2, len(content) - 1}):
            changed = bytes([*content[:place], content[place] ^ 1, *content[place + 1 :]])
            if packed:
                path = tmp_path / f"{victim}-{place}.zip"
                with zipfile.ZipFile(path, "w") as target:
                    for one in sorted(folder.iterdir()):
                        target.writestr(one.name, changed if one.name == victim else one.read_bytes())
            else:
                path = tmp_path / f"{victim}-{place}"
                shutil.copytree(folder, path)
                (path / victim).write_bytes(changed)
            with pytest.raises(BundleError, match=victim.replace(".", r"\.")):
                read_bundle(path)
    assert made.tasks


def test_a_damaged_zip_is_refused_or_has_the_same_contents(made: BundleContents, tmp_path: Path) -> None:
    write_bundle(tmp_path / "whole.zip", made)
    content = (tmp_path / "whole.zip").read_bytes()
    rng, damaged = np.random.default_rng(0), tmp_path / "damaged.zip"
    tail = len(content) - 700  # the directory at its end
    for place in [*rng.integers(0, len(content), 60).tolist(), *range(tail, len(content), 3)]:
        damaged.write_bytes(bytes([*content[:place], content[place] ^ 255, *content[place + 1 :]]))
        with contextlib.suppress(BundleError, InputError):
            assert same(read_bundle(damaged).contents, made)
    for length in (0, 1, 100, len(content) // 2, len(content) - 1):
        damaged.write_bytes(content[:length])
        with pytest.raises((BundleError, InputError)):
            read_bundle(damaged)


@pytest.mark.parametrize("victim", ["model.safetensors", "tasks.json", "CARD.md"])
def test_a_missing_file_is_named(folder: Path, tmp_path: Path, victim: str) -> None:
    shutil.copytree(folder, tmp_path / "b")
    (tmp_path / "b" / victim).unlink()
    with pytest.raises(BundleError, match=victim):
        read_bundle(tmp_path / "b")


def test_no_bundle_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "nowhere", tmp_path / "nowhere.zip", tmp_path / "empty"):
        with pytest.raises(InputError, match="is no bundle"):
            read_bundle(path)


def rewritten(folder: Path, target: Path, name: str, content: bytes) -> Path:
    """The bundle with one file replaced by somebody who knows how to make digests fit."""
    shutil.copytree(folder, target)
    files = {path.name: path.read_bytes() for path in target.iterdir() if path.name != MANIFEST}
    files[name] = content
    (target / name).write_bytes(content)
    (target / MANIFEST).write_bytes(_manifest(files)[0])
    return target


@pytest.mark.parametrize("name", ["model.safetensors", "calibration.safetensors", "network.json", "tasks.json",
                                  "recipe.json", "card.json"])  # fmt: skip
@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null", b"\x80\x04K\x01.", b'[{"task_id":1}]'])
def test_parts_that_are_none_are_refused_even_where_the_digests_fit(
    folder: Path, tmp_path: Path, name: str, content: bytes
) -> None:
    with pytest.raises(BundleError):
        network_of(read_bundle(rewritten(folder, tmp_path / "b", name, content)).contents, "b")


def test_tensors_of_another_network_are_refused_by_name(folder: Path, tmp_path: Path, made: BundleContents) -> None:
    weights = dict(made.weights)
    weights["trunk.middle.0.weight"] = weights["trunk.middle.0.weight"][:, :-1].copy()
    path = rewritten(folder, tmp_path / "a", MODEL, safetensors.numpy.save(weights))
    with pytest.raises(BundleError, match=r"trunk\.middle\.0\.weight should have the shape \(10, 12\)"):
        network_of(read_bundle(path).contents, "a")
    del weights["trunk.middle.0.weight"]
    with pytest.raises(BundleError, match=r"trunk\.middle\.0\.weight .* found None"):
        network_of(replace(made, weights=weights), "b")


def test_tasks_that_the_network_does_not_have_are_refused(folder: Path, tmp_path: Path, made: BundleContents) -> None:
    last = max(range(len(made.tasks)), key=lambda i: made.tasks[i].column)
    tasks = (*made.tasks[:last], replace(made.tasks[last], column=99), *made.tasks[last + 1 :])
    path = rewritten(folder, tmp_path / "a", TASKS, encode_bundle_tasks(tasks))
    with pytest.raises(BundleError, match="is no column of"):
        network_of(read_bundle(path).contents, "a")
    path = rewritten(folder, tmp_path / "b", TASKS, encode_bundle_tasks(made.tasks[:-1]))
    with pytest.raises(BundleError, match="the same ones"):
        read_bundle(path)


def test_a_bundle_of_another_version_is_refused_by_its_version(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "b")
    document = json.loads((folder / MANIFEST).read_bytes())
    (tmp_path / "b" / MANIFEST).write_text(json.dumps({**document, "version": 2}))
    with pytest.raises(BundleError, match="version 2"):
        read_bundle(tmp_path / "b")


def test_a_bundle_is_never_overwritten(folder: Path, made: BundleContents) -> None:
    with pytest.raises(InputError, match="never overwritten"):
        write_bundle(folder, made)


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


def test_settings_and_tasks_come_back(made: BundleContents) -> None:
    assert decode_settings(encode_settings(SETTINGS), "x") == SETTINGS
    assert decode_bundle_tasks(encode_bundle_tasks(made.tasks), "x") == made.tasks


def test_formats_are_what_they_were(made: BundleContents) -> None:
    """Bytes that other programs read; change them only with the version."""
    task = next(task for task in made.tasks if task.task_id == "regression|solubility")
    assert encode_bundle_tasks([task]) == (
        b'[{"assay_id":"solubility","assay_type":"OTHER","catalogue_id":"solubility","column":0,"direction":null,'
        b'"head":"catalogue_regression","kind":"regression","task_id":"regression|solubility","threshold":null,'
        b'"unit":""}]'
    )
    assert encode_settings(SETTINGS) == (
        b'{"batch_size":24,"catalogue_classification":[],"catalogue_regression":["solubility"],"drop_round":10,'
        b'"dropout":0.1,"head":[6],"learning_rate":0.001,"local_epochs":2,"n_bits":512,"optimiser":"adam",'
        b'"regression_weight":0.4,"trunk":[12,10]}'
    )
    manifest, digest = _manifest({"b": b"two", "a": b""})
    assert json.loads(manifest) == {
        "format": "pharmonia bundle",
        "version": 1,
        "files": [
            {"name": "a", "n_bytes": 0, "sha256": hashlib.sha256(b"").hexdigest()},
            {"name": "b", "n_bytes": 3, "sha256": hashlib.sha256(b"two").hexdigest()},
        ],
        "sha256": digest,
    }
    body = {name: value for name, value in json.loads(manifest).items() if name != "sha256"}
    assert digest == hashlib.sha256(canonical_json(body)).hexdigest()


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
