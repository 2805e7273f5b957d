"""Runs on many tasks from a prepared data set to the folder that a partner takes home, and the command around them."""

import csv
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.csv as pa_csv
import pytest

from pharmonia.base.canonical import digest_json
from pharmonia.base.errors import OptionError, UnknownNameError
from pharmonia.bench import qsar_arms
from pharmonia.bench.arms import RUN_ID_DIGITS, StorePlace
from pharmonia.bench.qsar_arms import QsarJob, federated_settings, federated_shares, run_id_of, share_out
from pharmonia.bench.qsar_clusters import scaffold_clusters
from pharmonia.bench.qsar_hand_over import RUN_FILE
from pharmonia.bench.qsar_settings import QsarSettings
from pharmonia.bench.qsar_training import run_job, world_view
from pharmonia.cli.main import main
from pharmonia.data.adme import BIOGEN_COLUMNS, BIOGEN_UNITS, AssayTable
from pharmonia.data.assays_tables import sort_tables
from pharmonia.data.interactions import EncodedInteractions
from pharmonia.data.qsar import TEST_FOLD, VALID_FOLD, Sharing, TaskQuorum
from pharmonia.data.qsar_sets import N_BITS, SIMULATION_KEY, QsarSet, adme_tables, interaction_tables
from pharmonia.evaluate.qsar import QsarArm
from pharmonia.learn.algorithms import Schedule
from pharmonia.learn.multitask_data import predict_labels, task_places
from pharmonia.learn.multitask_network import trained_network
from pharmonia.learn.multitask_settings import MultitaskSettings
from pharmonia.learn.settings import Aggregation, Method, Optimiser
from pharmonia.run.arrayfile import read_arrays
from pharmonia.run.bundle_runs import find_run, read_partner, task_notes
from pharmonia.run.prepare_files import open_prepared
from pharmonia.run.prepare_key import read_preparation_key
from pharmonia.run.records import RoundRecord
from qsar_cases import RECIPE, form_of, notes_of, put_in_cache, world
from run_cases import NEVER, NOW, OFTEN

LOCAL = MultitaskSettings(
    n_bits=N_BITS, trunk=(8,), head=(), dropout=0.0, regression_weight=0.5, catalogue_classification=(),
    catalogue_regression=(), optimiser=Optimiser.ADAM, learning_rate=5e-3, drop_round=10, batch_size=32, local_epochs=1,
)  # fmt: skip
SETTINGS = QsarSettings(
    dataset=QsarSet.ADME,
    n_partners=3,
    sharing=Sharing.SCAFFOLD,
    seeds=(0,),
    local=LOCAL,
    method=Method.parse("fedsgd"),
    aggregation=Aggregation.SECURE,
    schedule=Schedule(rounds=3, patience=3),
    catalogue=False,
    quorum=TaskQuorum(train_class=2, train_values=4, test_class=2, test_values=4),
)


@pytest.fixture(scope="module", autouse=True)
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A drawn data set where Biogen ADME would be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PHARMONIA_CACHE", str(tmp_path_factory.mktemp("qsar-cache")))
        qsar_arms._world.cache_clear()
        qsar_arms._share_out.cache_clear()
        yield put_in_cache(world())
        qsar_arms._world.cache_clear()
        qsar_arms._share_out.cache_clear()


def place(folder: Path) -> StorePlace:
    return StorePlace(url=f"sqlite:///{folder / 'runs.sqlite'}", folder=folder / "runs")


def job(arm: QsarArm, partner: int | None = None, settings: QsarSettings = SETTINGS) -> QsarJob:
    return QsarJob(settings=settings, seed=0, arm=arm, partner=partner)


def ignore(_: RoundRecord) -> None:
    """Nothing to do after a round."""


def test_alone_answers_for_everybodys_compounds_of_its_tasks_and_trees_for_its_own(tmp_path: Path) -> None:
    shared = share_out(SETTINGS, 0)
    task, owner = shared.world.prepared.labels.task[shared.evaluated], shared.owner[shared.evaluated]
    alone = run_job(job(QsarArm.ALONE, 1), place(tmp_path), NEVER, NOW, ignore).predicted
    np.testing.assert_array_equal(np.isfinite(alone), np.isin(task, shared.partners[1].task))
    boosted = run_job(job(QsarArm.BOOSTED, 1), place(tmp_path), NEVER, NOW, ignore).predicted
    assert np.isfinite(boosted).any()
    assert not np.isfinite(boosted[owner != 1]).any()
    main_tasks = [i for i, one in enumerate(shared.world.prepared.tasks) if one.aggregation_weight > 0]
    assert np.isin(task[np.isfinite(boosted)], main_tasks).all()


def test_federated_leaves_each_partner_what_predicts_its_labels_again(tmp_path: Path) -> None:
    result = run_job(job(QsarArm.FEDERATED), place(tmp_path), NEVER, NOW, ignore)
    folder = tmp_path / "runs" / run_id_of(job(QsarArm.FEDERATED))
    about = json.loads((folder / RUN_FILE).read_text())
    settings = MultitaskSettings(
        **{**about["settings"], "trunk": tuple(about["settings"]["trunk"]), "head": (), "catalogue_classification": (),
           "catalogue_regression": (), "optimiser": Optimiser(about["settings"]["optimiser"])}
    )  # fmt: skip
    parameters = place(tmp_path).open().model(folder.name).parameters
    shared = share_out(SETTINGS, 0)
    for index, share in enumerate(shared.partners):
        home = folder / f"partner-{index + 1}"
        prepared = open_prepared(home / "prepared", RECIPE)
        assert prepared.tasks == share.prepared.tasks
        assert task_notes(home / "prepared") == notes_of(prepared.tasks)
        private = read_arrays(home / "private.safetensors")[0]["private"]
        places = task_places(prepared, settings)
        network = trained_network(settings, places.sizes, parameters, private.astype(np.float64))
        everything = np.arange(len(prepared.labels), dtype=np.int64)
        again = predict_labels(network, prepared, places, everything)
        np.testing.assert_array_equal(again, np.load(home / "predictions.npy"))
        listed = pa_csv.read_csv(home / "prepared" / "compounds.csv").to_pydict()
        assert listed["row"] == list(range(share.compound.size))
        assert listed["standard_smiles"] == [form_of(row) for row in share.compound.tolist()]
        _, asked, own = np.intersect1d(shared.evaluated, share.label, return_indices=True)
        np.testing.assert_allclose(result.predicted[asked], again[own], atol=1e-6)


def test_secure_sums_predict_as_plain_ones(tmp_path: Path) -> None:
    secure = run_job(job(QsarArm.FEDERATED), place(tmp_path), NEVER, NOW, ignore)
    plain = replace(SETTINGS, aggregation=Aggregation.PLAIN)
    other = run_job(job(QsarArm.FEDERATED, settings=plain), place(tmp_path), NEVER, NOW, ignore)
    np.testing.assert_allclose(secure.predicted, other.predicted, rtol=1e-2, atol=1e-3)
    assert secure.training is not None
    assert max(record.sum_error or 0.0 for record in secure.training.rounds) < 1e-4


class _KilledError(Exception):
    """The run was stopped."""


def test_a_killed_federated_run_resumes_to_the_same_predictions(tmp_path: Path) -> None:
    def stop(record: RoundRecord) -> None:
        if record.round_index == 1:
            raise _KilledError

    whole = run_job(job(QsarArm.FEDERATED), place(tmp_path / "whole"), NEVER, NOW, ignore)
    with pytest.raises(_KilledError):
        run_job(job(QsarArm.FEDERATED), place(tmp_path / "killed"), OFTEN, NOW, stop)
    resumed = run_job(job(QsarArm.FEDERATED), place(tmp_path / "killed"), OFTEN, NOW, ignore)
    np.testing.assert_array_equal(resumed.predicted, whole.predicted)
    again = run_job(job(QsarArm.FEDERATED), place(tmp_path / "killed"), OFTEN, NOW, ignore)  # finished: nothing trains
    np.testing.assert_array_equal(again.predicted, whole.predicted)


def test_a_lost_model_is_trained_again_to_the_same_predictions(tmp_path: Path) -> None:
    one = job(QsarArm.ALONE, 1)
    first = run_job(one, place(tmp_path), NEVER, NOW, ignore).predicted
    (tmp_path / "runs" / run_id_of(one) / "model.safetensors").unlink()
    again: list[RoundRecord] = []
    np.testing.assert_array_equal(run_job(one, place(tmp_path), NEVER, NOW, again.append).predicted, first)
    assert len(again) == SETTINGS.schedule.rounds


def test_a_catalogue_gives_one_head_to_all_partners_of_a_task(tmp_path: Path) -> None:
    settings = replace(SETTINGS, catalogue=True)
    partners = federated_shares(settings, share_out(settings, 0))
    local = federated_settings(settings, partners)
    assert local.catalogue_classification
    assert local.batch_size == 3 * LOCAL.batch_size
    with_catalogue = run_job(job(QsarArm.FEDERATED, settings=settings), place(tmp_path), NEVER, NOW, ignore)
    assert with_catalogue.training is not None
    without = run_job(job(QsarArm.FEDERATED), place(tmp_path), NEVER, NOW, ignore)
    assert without.training is not None
    n_tasks = len(local.catalogue_classification) + len(local.catalogue_regression)
    assert with_catalogue.training.n_params > without.training.n_params + n_tasks


def test_runs_of_single_owners_serve_every_method() -> None:
    other = replace(SETTINGS, method=Method.parse("fedavg"), aggregation=Aggregation.PLAIN, catalogue=True)
    for arm, partner in ((QsarArm.ALONE, 0), (QsarArm.POOLED, None), (QsarArm.BOOSTED, 0)):
        assert run_id_of(job(arm, partner)) == run_id_of(job(arm, partner, other))
    assert run_id_of(job(QsarArm.FEDERATED)) != run_id_of(job(QsarArm.FEDERATED, settings=other))


def test_runs_in_rounds_have_another_name_than_those_that_were_chosen_by_test_counts() -> None:
    old = {**SETTINGS.to_json(0), "data": share_out(SETTINGS, 0).digest, "partner": 0}
    assert run_id_of(job(QsarArm.BOOSTED, 0)) == digest_json({**old, "arm": "boosted"})[:RUN_ID_DIGITS]
    assert run_id_of(job(QsarArm.ALONE, 0)) != digest_json({**old, "arm": "alone"})[:RUN_ID_DIGITS]


def test_partners_train_where_no_task_counts_in_the_report(tmp_path: Path) -> None:
    settings = replace(SETTINGS, quorum=replace(SETTINGS.quorum, test_class=10**6, test_values=10**6))
    for arm, partner in ((QsarArm.FEDERATED, None), (QsarArm.ALONE, 0)):
        training = run_job(job(arm, partner, settings), place(tmp_path), NEVER, NOW, ignore).training
        assert training is not None
        assert all(np.isfinite(record.valid_error) for record in training.rounds)


def test_a_view_of_the_world_keeps_labels_and_their_order() -> None:
    shared = share_out(SETTINGS, 0)
    share = shared.partners[0]
    labels = shared.world.prepared.labels
    asked = np.flatnonzero(np.isin(labels.task, share.task))[:50]
    view = world_view(shared, share, asked)
    np.testing.assert_array_equal(view.labels.value, labels.value[asked])
    assert [view.tasks[i].task_id for i in view.labels.task] == [
        shared.world.prepared.tasks[i].task_id for i in labels.task[asked].tolist()
    ]


def test_clusters_keep_scaffolds_whole_and_like_ones_together() -> None:
    made = world()
    clusters = scaffold_clusters(made.prepared.features, made.scaffold)
    assert np.unique(np.stack([clusters, made.scaffold]), axis=1).shape[1] == np.unique(made.scaffold).size
    np.testing.assert_array_equal(clusters, scaffold_clusters(made.prepared.features, made.scaffold))


def test_each_target_and_each_endpoint_is_an_assay(kiba_sample: EncodedInteractions) -> None:
    interactions = kiba_sample.interactions
    listed = sort_tables(interaction_tables(interactions, 12.1), None)
    assert listed.assays[0].columns.num_rows == interactions.n_targets
    assert listed.results[0].columns.num_rows == len(interactions.pairs)
    table = AssayTable(
        name="t", compound_ids=("a", "b"), smiles=("C", "CC"), endpoints=("x", "y"),
        values=np.array([[1.0, np.nan], [2.0, 3.0]]),
    )  # fmt: skip
    listed = sort_tables(adme_tables(table), None)
    assert listed.results[0].columns["standard_value"].to_pylist() == [1.0, 2.0, 3.0]
    assert listed.assays[0].columns["standard_unit"].to_pylist() == ["", ""]
    named = replace(table, endpoints=("hlm_clint", "human_ppb"))
    units = sort_tables(adme_tables(named), None).assays[0].columns["standard_unit"].to_pylist()
    assert units == ["log10 mL/min/kg", "log10 % unbound"]
    assert set(BIOGEN_UNITS) == set(BIOGEN_COLUMNS)


SMALL = ["--partners", "2", "--rounds", "2", "--trunk", "4", "--aggregation", "plain", "--workers", "1"]


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["pharmonia", "compare", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_the_command_writes_every_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert command(monkeypatch, "adme", *SMALL, "--out", str(out)) == 0
    assert "federated" in capsys.readouterr().out
    results = json.loads((out / "results.json").read_text())
    assert results["title"] == "adme shared out between 2 partners by scaffold"
    assert (out / "report.html").stat().st_size > 10**6
    assert (out / "report.md").read_text().startswith("# adme shared out")
    rows = list(csv.DictReader((out / "tasks.csv").open(encoding="utf-8")))
    assert {row["arm"] for row in rows} == {arm.value for arm in QsarArm}
    home = out / json.loads((out / "federated.json").read_text())["0"]
    assert (home / RUN_FILE).exists()
    assert (home / "partner-2" / "predictions.npy").exists()
    for partner in ("partner-1", "partner-2"):
        prepared, alone = open_prepared(home / partner / "prepared"), np.load(home / partner / "alone.npy")
        judged = np.isin(prepared.fold[prepared.labels.compound], (VALID_FOLD, TEST_FOLD))
        np.testing.assert_array_equal(np.isfinite(alone), judged)
        assert (alone != np.load(home / partner / "predictions.npy"))[judged].any()
    trained, _, _ = read_partner(find_run(out, 0), "Partner 1", None)
    assert trained.alone is not None
    assert np.isfinite(trained.alone).all()
    assert read_preparation_key(out / "simulation.key") == SIMULATION_KEY


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["adme", "--split", "published"], "--split means nothing"),
        (["adme", "--model", "gin"], "--model means nothing"),
        (["adme", "--plan", "plan.json"], "--plan means nothing"),
        (["kiba-sample", "--catalogue"], "--catalogue means nothing"),
        (["adme", "--partition", "target"], "scaffold, assay, both"),
        (["adme", "--partners", "5", "--partition", "both"], "choose 4, 6, 8"),
        (
            ["adme", "--partners", "5", "--partition", "assay"],
            "cannot share 4 assays; use at most 4 partners or",
        ),
        (["adme", "--partners", "10", "--partition", "both"], "2 groups of scaffold clusters times 5 of assays"),
        (["adme", "--partners", "90"], "90 partners cannot share"),
        (["adme", "--partners", "40"], "no label"),
        (["adme", "--trunk", "wide"], "--trunk takes widths"),
        (["adme", "--method", "fedavg+private-head"], "heads are private anyway"),
        (["kiba-tasks"], "pharmonia data fetch kiba"),
    ],
)
def test_what_cannot_be_is_refused_by_name_before_anything_trains(
    arguments: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "out"
    assert command(monkeypatch, *arguments, "--out", str(out)) == 2
    assert expected in " ".join(capsys.readouterr().err.split())
    assert not list(out.glob("*"))


def test_settings_out_of_range_are_refused() -> None:
    for wrong in ({"n_partners": 1}, {"seeds": ()}, {"seeds": (1, 1)}, {"seeds": (-1,)}):
        with pytest.raises(OptionError):
            replace(SETTINGS, **wrong)
    with pytest.raises(OptionError, match="takes 1 local epoch, got 4; give more rounds"):
        replace(SETTINGS, local=replace(LOCAL, local_epochs=4))
    with pytest.raises(UnknownNameError):
        Method.parse("melloddy")
