"""Batteries whose runs are killed at the worst moment, or cannot be made; what tells one run from another."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from bench_cases import NOW, SMALL, Inline, battery_of, run, use_small_data
from pharmonia.base.errors import InputError, StoreError, UpdateError
from pharmonia.bench import public, training
from pharmonia.bench.arms import (
    PREDICTIONS_FILE,
    ArmJob,
    DistilledJob,
    FailedJob,
    Job,
    JobResult,
    StorePlace,
    run_id_of,
    share_out,
)
from pharmonia.bench.battery import Battery
from pharmonia.bench.battery_folder import digest_of
from pharmonia.bench.battery_output import write_battery
from pharmonia.bench.battery_run import check_cells, states
from pharmonia.bench.battery_score import outcome
from pharmonia.bench.public import public_interactions
from pharmonia.bench.training import PRIVATE_FILE
from pharmonia.bench.workplace import default_place
from pharmonia.chem.scaffolds import murcko_scaffold
from pharmonia.data.interactions import EncodedInteractions
from pharmonia.data.splits import Part, SplitKind
from pharmonia.evaluate.battery import BatteryArm
from pharmonia.evaluate.outcome import Arm
from pharmonia.learn.settings import Aggregation, Method
from pharmonia.run.arrayfile import read_arrays
from pharmonia.run.coordinator import checkpoint_file
from pharmonia.run.records import Performance, RoundRecord, TrainedModel
from pharmonia.run.store import RunStore


@pytest.fixture(autouse=True)
def small_data(monkeypatch: pytest.MonkeyPatch) -> None:
    use_small_data(monkeypatch)


FEDERATED = SMALL.replace(
    '["alone", "ensemble", "ensemble-weighted", "distilled", "federated", "pooled", "additive", "target-only"]',
    '["federated", "additive"]',
)


def private_job(battery: Battery) -> ArmJob:
    """The federated run with private heads, under the first seed."""
    return next(
        job
        for job in battery.jobs()[0]
        if isinstance(job, ArmJob) and job.arm is Arm.FEDERATED and job.method != Method() and job.seed == 0
    )


def test_a_run_that_was_killed_before_its_predictions_is_not_done_and_needs_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    battery = battery_of(tmp_path)
    run(battery, tmp_path, Inline())
    place = default_place(tmp_path)
    job = private_job(battery)
    predictions = place.folder / run_id_of(job) / PREDICTIONS_FILE
    before = read_arrays(predictions)[0]
    predictions.unlink()
    assert [state.is_done for state in states(battery, place)].count(False) == 1
    monkeypatch.setattr(training, "_train", None)  # would fail
    again = Inline()
    assert run(battery, tmp_path, again)[0] == ()
    assert again.done == [job]
    after = read_arrays(predictions)[0]  # not the bytes: the file's header has its entries in any order
    assert set(after) == set(before) == {"predicted"}
    np.testing.assert_array_equal(after["predicted"], before["predicted"])


def test_what_partners_keep_to_themselves_is_there_before_a_run_is_marked_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    battery = battery_of(tmp_path)
    place = default_place(tmp_path)
    job = private_job(battery)

    def killed(store: RunStore, run_id: str, _: TrainedModel) -> None:
        if run_id == run_id_of(job):
            assert (store.folder(run_id) / PRIVATE_FILE).exists()
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunStore, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            training.run_job(job, place, Performance(), NOW, lambda _: None)
    resumed = training.run_job(job, place, Performance(), NOW, lambda _: None)
    whole = training.run_job(job, default_place(tmp_path / "whole"), Performance(), NOW, lambda _: None)
    np.testing.assert_array_equal(resumed.predicted, whole.predicted)


@pytest.mark.parametrize("lost", ["model.safetensors", PRIVATE_FILE])
def test_a_finished_run_that_lost_its_model_is_made_again_and_is_the_same(tmp_path: Path, lost: str) -> None:
    battery = battery_of(tmp_path, FEDERATED)
    place = default_place(tmp_path)
    job = private_job(battery)
    run_id = run_id_of(job)
    only = replace(battery, cells=tuple(cell for cell in battery.cells if job in cell.jobs().values()))
    run(only, tmp_path, Inline())
    before, rounds = read_arrays(place.folder / run_id / PREDICTIONS_FILE)[0], place.open().rounds(run_id)
    (place.folder / run_id / lost).unlink()
    if lost == PRIVATE_FILE:  # which only predictions need
        (place.folder / run_id / PREDICTIONS_FILE).unlink()
    assert not any(state.is_done for state in states(only, place))
    again = Inline()
    assert run(only, tmp_path, again)[0] == ()
    assert again.done == [job]
    np.testing.assert_array_equal(
        read_arrays(place.folder / run_id / PREDICTIONS_FILE)[0]["predicted"], before["predicted"]
    )
    assert [one.aggregate_digest for one in place.open().rounds(run_id)] == [one.aggregate_digest for one in rounds]
    assert all(state.is_done for state in states(only, place))


def test_a_run_made_again_does_not_go_on_from_what_was_left_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, job, always = default_place(tmp_path), private_job(battery_of(tmp_path)), Performance(checkpoint_every_s=0)
    run_id, plain = run_id_of(job), RunStore.finish

    def killed(store: RunStore, run_id: str, model: TrainedModel) -> None:
        plain(store, run_id, model)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunStore, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            training.run_job(job, place, always, NOW, lambda _: None)
    assert checkpoint_file(place.open(), run_id).exists()
    rounds = place.open().rounds(run_id)
    (place.folder / run_id / "model.safetensors").unlink()
    made = training.run_job(job, place, always, NOW, lambda _: None)
    assert made.training is not None
    assert [one.round_index for one in made.training.rounds] == [0, 1]
    assert [one.aggregate_digest for one in made.training.rounds] == [one.aggregate_digest for one in rounds]


def damage(file: Path) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))


def test_damaged_files_keep_only_their_cells_out_of_the_report_until_they_are_deleted(tmp_path: Path) -> None:
    battery = battery_of(tmp_path, FEDERATED)
    place = default_place(tmp_path)
    run(battery, tmp_path, Inline())
    write_battery(battery, place, tmp_path, command="pharmonia bench run", now=NOW).require_whole()
    scores = [outcome(cell, place).scores for cell in battery.cells]
    damaged = [
        place.folder / run_id_of(cell.jobs()[BatteryArm.FEDERATED, None]) / name
        for cell, name in zip(battery.cells, ("model.safetensors", PREDICTIONS_FILE), strict=False)
    ]
    for file in damaged:
        damage(file)
    written = write_battery(battery, place, tmp_path, command="pharmonia bench report", now=NOW)
    reasons = [one.reason for one in written.report.description.unfinished]
    for reason, file in zip(reasons, damaged, strict=True):
        assert reason.startswith(f"runs/{file.parent.name}/{file.name} is damaged: ")
    assert len(written.results.read_text().splitlines()) == 1 + 2
    with pytest.raises(StoreError, match=r"2 finished cells .* seed 0: runs/.*/model.safetensors .*delete it and run"):
        written.require_whole()
    for file in damaged:
        file.unlink()
    again = Inline()
    assert run(battery, tmp_path, again)[0] == ()
    assert [job.seed for job in again.done] == [0, 1]
    write_battery(battery, place, tmp_path, command="pharmonia bench run", now=NOW).require_whole()
    assert [outcome(cell, place).scores for cell in battery.cells] == scores


def test_a_battery_of_which_nothing_can_be_read_says_why(tmp_path: Path) -> None:
    battery = battery_of(tmp_path, FEDERATED)
    place = default_place(tmp_path)
    only = replace(battery, cells=battery.cells[:1])
    run(only, tmp_path, Inline())
    damage(place.folder / run_id_of(only.cells[0].jobs()[BatteryArm.FEDERATED, None]) / "model.safetensors")
    with pytest.raises(StoreError, match=r"can be read, so there is no report:\nsmall, .*seed 0: runs/.* is damaged"):
        write_battery(only, place, tmp_path, command="", now=NOW)


def test_a_pupil_whose_teacher_is_damaged_keeps_nobody_waiting_but_a_store_that_fails_ends_all(tmp_path: Path) -> None:
    battery = battery_of(tmp_path)
    place = default_place(tmp_path)
    pupil = next(job for job in battery.jobs()[1] if isinstance(job, DistilledJob))
    for teacher in pupil.teachers:
        training.run_job(teacher, place, Performance(), NOW, lambda _: None)
    damage(place.folder / run_id_of(pupil.teachers[0]) / "model.safetensors")
    failed = training.attempt_job(pupil, place, Performance(), NOW, lambda _: None)
    assert isinstance(failed, FailedJob)
    assert "model.safetensors is damaged" in failed.reason
    with sa.create_engine(place.url).begin() as connection:
        connection.execute(sa.text("ALTER TABLE runs RENAME COLUMN status TO state"))
    with pytest.raises(StoreError, match="table runs has no column status"):
        training.attempt_job(pupil, place, Performance(), NOW, lambda _: None)


def diverging(arm: Arm) -> Callable[..., JobResult]:
    """`run_job` with one arm that cannot be trained."""
    plain = training.run_job

    def run_job(
        job: Job, place: StorePlace, performance: Performance, now: datetime, on_round: Callable[[RoundRecord], None]
    ) -> JobResult:
        if isinstance(job, ArmJob) and job.arm is arm and job.method == Method() and job.seed == 0:
            raise UpdateError("training diverged in round 1")
        return plain(job, place, performance, now, on_round)

    return run_job


def test_a_run_that_cannot_be_made_keeps_no_other_waiting_and_the_report_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    battery = battery_of(tmp_path)
    place = default_place(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(training, "run_job", diverging(Arm.FEDERATED))
        failed, seen = run(battery, tmp_path, Inline())
    assert [(one.job.title, one.job.seed, one.reason) for one in failed] == [
        ("federated", 0, "training diverged in round 1")
    ]
    assert seen[-1].done == seen[-1].total
    assert [state.is_done for state in states(battery, place)] == [False, True, True, True]
    written = write_battery(battery, place, tmp_path, command="pharmonia bench run", now=NOW)
    (unfinished,) = written.report.description.unfinished
    assert (unfinished.seed, unfinished.reason) == (0, "failed: training diverged in round 1")
    again = Inline()  # the cause is mended: only that run is made
    assert run(battery, tmp_path, again)[0] == ()
    assert len(again.done) == 1
    assert all(state.is_done and not state.failures for state in states(battery, place))


def test_a_pupil_without_its_teachers_is_not_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    battery = battery_of(tmp_path)
    inline = Inline()
    monkeypatch.setattr(training, "run_job", diverging(Arm.ALONE))
    failed, _ = run(battery, tmp_path, inline)
    assert [one.job.title for one in failed] == ["alone, partner 1", "alone, partner 2", "alone, partner 3"]
    assert [job.seed for job in inline.done if isinstance(job, DistilledJob)] == [1]


def test_a_battery_of_which_nothing_can_be_made_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    battery = battery_of(tmp_path)
    only = replace(battery, cells=battery.cells[:1])
    monkeypatch.setattr(training, "run_job", diverging(Arm.FEDERATED))
    run(only, tmp_path, Inline())
    reason = "small, target, random, 3 partners, gin, batch, fedavg, seed 0: training diverged in round 1"
    with pytest.raises(InputError, match=reason):
        write_battery(only, default_place(tmp_path), tmp_path, command="", now=NOW)


@pytest.mark.parametrize(
    ("block", "match"),
    [
        ('scenarios = ["iid"]\npartners = [300]', "300 partners, .* up to 255 partners"),
        ('scenarios = ["weak:0.1"]\npartners = [16]\nmethods = ["fedsgd"]', r"fedsgd takes 2 rows .* Partner \d+ has"),
        ('arms = ["distilled"]', "every compound of kiba-sample is in kiba-sample"),
    ],
)
def test_what_could_not_be_trained_is_refused_before_anything_is(tmp_path: Path, block: str, match: str) -> None:
    text = f'name = "one"\ntitle = "One"\npublic = "kiba-sample"\n[[block]]\n{block}'
    with pytest.raises(InputError, match=match):
        check_cells(battery_of(tmp_path, text))


def test_batteries_that_sum_or_teach_in_another_way_have_other_digests(tmp_path: Path) -> None:
    battery = battery_of(tmp_path)
    plain = battery_of(tmp_path, SMALL.replace("rounds = 2", 'rounds = 2\naggregation = "plain"'))
    taught = battery_of(tmp_path, SMALL.replace('public = "kiba-sample"', 'public = "biogen-adme"'))
    assert plain.cells[0].settings.aggregation is Aggregation.PLAIN
    assert len({digest_of(one) for one in (battery, plain, taught)}) == 3


def test_a_pupil_taught_on_other_compounds_is_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pupil = next(job for job in battery_of(tmp_path).jobs()[1] if isinstance(job, DistilledJob))
    before = run_id_of(pupil)
    plain = public._smiles
    public.public_digest.cache_clear()
    monkeypatch.setattr(public, "_smiles", lambda name: plain(name)[1:])
    assert run_id_of(pupil) != before
    public.public_digest.cache_clear()


@pytest.mark.parametrize("kind", list(SplitKind))
def test_no_lesson_is_about_a_target_or_scaffold_that_is_held_out(
    kind: SplitKind, kiba_sample: EncodedInteractions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f'name = "one"\ntitle = "One"\n[[block]]\nprotocols = ["{kind}"]\nscenarios = ["iid"]'
    cell = battery_of(tmp_path, text).cells[0]
    shared = share_out(cell.settings, cell.seed)
    interactions = shared.encoded.interactions
    test, train = (interactions.pairs.take(shared.split.rows(part)) for part in (Part.TEST, Part.TRAIN))
    scaffolds = {murcko_scaffold(interactions.smiles[index]) for index in set(test.compound.tolist())}
    relatives = tuple(f"{one}.C" for one in interactions.smiles)  # other compounds, of the same scaffolds
    monkeypatch.setattr(public, "_smiles", lambda _: relatives)
    lessons = public_interactions("relatives", interactions, shared.split, np.random.default_rng(0)).interactions
    assert len(lessons.pairs) == min(len(train), len(lessons.smiles) * len(set(train.target.tolist())))
    assert set(lessons.pairs.target.tolist()) <= set(train.target.tolist())
    assert not set(lessons.smiles) & set(interactions.smiles)
    if kind in (SplitKind.COLD_TARGET, SplitKind.COLD_BOTH):
        assert not set(lessons.pairs.target.tolist()) & set(test.target.tolist())
    if kind is SplitKind.COLD_SCAFFOLD:
        assert not {murcko_scaffold(one) for one in lessons.smiles} & (scaffolds - {""})
