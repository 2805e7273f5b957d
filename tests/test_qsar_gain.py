"""Who gains on many tasks: by hand, and what the files say."""

import csv
import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from sklearn.metrics import r2_score, roc_auc_score  # type: ignore[import-untyped]

from pharmonia.base.errors import MetricError
from pharmonia.evaluate.gain import Estimate, Undefined, over_seeds
from pharmonia.evaluate.qsar import Kind, PartnerTask, QsarArm, QsarOutcome, TaskMetric
from pharmonia.evaluate.qsar_csv import LEFT_OUT_COLUMNS, TASK_COLUMNS, left_out_csv, tasks_csv
from pharmonia.evaluate.qsar_gain import gain_of, paired, task_table
from pharmonia.evaluate.qsar_html import render_qsar_html
from pharmonia.evaluate.qsar_json import qsar_report_to_json
from pharmonia.evaluate.qsar_report import (
    ArmCost,
    QsarDescription,
    QsarHolding,
    QsarReport,
    Untrained,
    build_qsar_report,
)
from pharmonia.evaluate.qsar_scores import SeedScores, score
from pharmonia.evaluate.qsar_text import render_qsar_markdown, render_qsar_terminal
from pharmonia.evaluate.qsar_wording import qsar_headline

N_ROWS = 60
PARTNERS = ("Partner 1", "Partner 2", "Partner 10")
NOISE = {QsarArm.ALONE: 1.0, QsarArm.BOOSTED: 0.9, QsarArm.ENSEMBLE: 0.95, QsarArm.FEDERATED: 0.5, QsarArm.POOLED: 0.2}


def task(partner: str, assay: str, kind: Kind, uncounted: str = "") -> PartnerTask:
    return PartnerTask(
        partner=partner, task_id=f"{kind}|{assay}", assay_id=assay, assay_type="OTHER", kind=kind,
        n_train=10 * (1 + int(assay[1:])), uncounted=uncounted,
    )  # fmt: skip


def outcome(seed: int, n_assays: int = 8) -> QsarOutcome:
    """Three partners; the better an arm, the less noise is in its predictions."""
    rng = np.random.default_rng(seed)
    tasks = tuple(task(name, f"a{i}", kind) for name in PARTNERS for i in range(n_assays) for kind in Kind)
    index = np.repeat(np.arange(len(tasks), dtype=np.int32), N_ROWS)
    is_class = np.array([one.kind is Kind.CLASSIFICATION for one in tasks])[index]
    truth = rng.normal(size=index.size)
    noise = rng.normal(size=index.size)
    predicted = {}
    for arm, size in NOISE.items():
        value = truth + size * noise
        predicted[arm] = np.where(is_class, 1 / (1 + np.exp(-value)), value).astype(np.float32)
    return QsarOutcome(
        seed=seed,
        tasks=tasks,
        task=index,
        measured=np.where(is_class, truth > 0.3, truth).astype(np.float32),
        censor=np.zeros(index.size, dtype=np.int8),
        is_test=np.tile(np.arange(N_ROWS) % 2 == 0, len(tasks)),
        predicted=predicted,
    )


@pytest.fixture(scope="module")
def seeds() -> list[SeedScores]:
    return [score(outcome(seed)) for seed in range(3)]


def description(name: str = "adme") -> QsarDescription:
    return QsarDescription(
        facts=(("Data", name), ("Command", "pharmonia compare adme")),
        title=f"{name} shared out",
        n_seeds=3,
        n_common_tasks=16,
        holdings=(QsarHolding(partner=name, n_compounds=9, n_train=5, n_valid=2, n_test=2, n_tasks=3, n_counting=2),),
        untrained=(Untrained(seed=1, partner="Partner 2", task_id="t", reason="3 actives in the training folds"),),
        leaks=("seed 0: 0 in common",),
        costs=(ArmCost(arm=QsarArm.FEDERATED, n_rounds=3, cpu_s=2.0, bytes_sent=10, n_clipped=0, sum_error=1e-7),),
    )


def report(seeds: list[SeedScores]) -> QsarReport:
    return build_qsar_report(seeds, description(), np.random.default_rng(0))


def test_only_test_rows_are_scored_and_as_scikit_learn_scores_them() -> None:
    one = outcome(0)
    found = score(one)
    for index in (0, 1):
        rows = (one.task == index) & one.is_test
        y, f = one.measured[rows], one.predicted[QsarArm.ALONE][rows]
        kind = one.tasks[index].kind
        metric = TaskMetric.AUROC if kind is Kind.CLASSIFICATION else TaskMetric.R2
        expected = roc_auc_score(y, f) if kind is Kind.CLASSIFICATION else r2_score(y, f)
        assert found.values[QsarArm.ALONE, metric][index] == pytest.approx(expected, abs=1e-6)
        assert found.n_test[index] == rows.sum()


def test_a_metric_of_the_other_kind_is_undefined() -> None:
    found = score(outcome(0))
    for index, one in enumerate(found.tasks):
        for metric in TaskMetric:
            assert math.isnan(found.values[QsarArm.POOLED, metric][index]) == (metric.kind is not one.kind)


def test_a_task_that_does_not_count_or_has_one_class_has_no_score_but_a_reason() -> None:
    one = outcome(0)
    tasks = (replace(one.tasks[0], uncounted="auxiliary"), *one.tasks[1:])
    one_class = np.where(one.task == 2, np.float32(1), one.measured)
    found = score(replace(one, tasks=tasks, measured=one_class))
    assert found.reasons[0] == "auxiliary"
    assert found.reasons[2] == "labels of one class only"
    assert not found.reasons[1]
    for index in (0, 2):
        assert math.isnan(found.values[QsarArm.ALONE, TaskMetric.AUROC][index])


def test_rows_that_an_arm_does_not_predict_are_not_scored_for_it() -> None:
    one = outcome(0)
    gone = np.where(one.task == 0, np.nan, one.predicted[QsarArm.BOOSTED]).astype(np.float32)
    found = score(replace(one, predicted={**one.predicted, QsarArm.BOOSTED: gone}))
    assert math.isnan(found.values[QsarArm.BOOSTED, TaskMetric.AUROC][0])
    assert math.isfinite(found.values[QsarArm.ALONE, TaskMetric.AUROC][0])


def fixed(seed: int, alone: list[float], federated: list[float]) -> SeedScores:
    """Regression tasks of one partner with given R2."""
    tasks = tuple(task("Partner 1", f"a{index}", Kind.REGRESSION) for index in range(len(alone)))
    nothing = np.full(len(tasks), np.nan)
    values = {(arm, metric): nothing for arm in (QsarArm.ALONE, QsarArm.FEDERATED) for metric in TaskMetric}
    values[QsarArm.ALONE, TaskMetric.R2] = np.array(alone)
    values[QsarArm.FEDERATED, TaskMetric.R2] = np.array(federated)
    arms = {QsarArm.ALONE: nothing, QsarArm.FEDERATED: nothing}
    counts = np.full(len(tasks), 9)
    return SeedScores(
        seed=seed, tasks=tasks, n_test=counts, n_positive=0 * counts, values=values, reasons=("",) * len(tasks),
        efficiency=arms, validity=arms,
    )  # fmt: skip


def test_seeds_are_averaged_per_task_before_gains_are_taken() -> None:
    nan = float("nan")
    table = task_table([fixed(0, [0.0, 0.5], [0.5, nan]), fixed(1, [0.5, 0.5], [0.5, 0.75])])
    federated, alone = paired(table, QsarArm.FEDERATED, QsarArm.ALONE, TaskMetric.R2)
    np.testing.assert_allclose(federated, [0.5, 0.75])
    np.testing.assert_allclose(alone, [0.25, 0.5])  # the second task's first seed is not paired
    everything = np.ones(2, dtype=np.bool_)
    gain = gain_of(table, QsarArm.FEDERATED, QsarArm.ALONE, TaskMetric.R2, np.random.default_rng(0), everything)
    assert isinstance(gain.proximity.mean, Estimate)
    assert gain.proximity.mean.value == pytest.approx((0.25 / 0.75 + 0.25 / 0.5) / 2)
    assert isinstance(gain.difference.mean, Estimate)
    assert gain.difference.mean.value == pytest.approx(0.25)
    assert gain.difference.share_better == 1.0
    per_seed = [0.5, (0.0 + 0.25) / 2]  # mean differences over the tasks of each seed
    assert isinstance(gain.over_seeds, Estimate)
    assert gain.over_seeds.value == pytest.approx(np.mean(per_seed))


def test_a_task_that_rounding_keeps_from_perfection_rules_no_mean() -> None:
    almost = 1.0 - 1e-16
    table = task_table([fixed(0, [almost, 0.5], [1.0, 0.75])])
    everything = np.ones(2, dtype=np.bool_)
    gain = gain_of(table, QsarArm.FEDERATED, QsarArm.ALONE, TaskMetric.R2, np.random.default_rng(0), everything)
    assert isinstance(gain.proximity.mean, Estimate)
    assert gain.proximity.mean.value == pytest.approx((0.0 + 0.5) / 2)


def test_errors_gain_where_they_fall() -> None:
    seeds = [score(outcome(seed)) for seed in range(2)]
    table = task_table(seeds)
    chosen = table.of_kind(Kind.REGRESSION)
    gain = gain_of(table, QsarArm.FEDERATED, QsarArm.ALONE, TaskMetric.RMSE, np.random.default_rng(0), chosen)
    assert isinstance(gain.proximity.mean, Estimate)
    assert gain.proximity.mean.value == pytest.approx(0.5, abs=0.01)  # the noise of federated is half of alone's


def test_the_interval_over_seeds_is_students() -> None:
    found = over_seeds(np.array([0.1, 0.2, 0.3]))
    assert isinstance(found, Estimate)
    assert found.high - found.value == pytest.approx(4.302653 * 0.1 / math.sqrt(3), rel=1e-5)
    assert isinstance(over_seeds(np.array([0.1])), Undefined)
    assert isinstance(over_seeds(np.array([0.1, np.nan])), Undefined)


def test_partners_are_in_the_order_of_their_numbers(seeds: list[SeedScores]) -> None:
    assert tuple(dict.fromkeys(one.partner for one in task_table(seeds).tasks)) == PARTNERS


def test_a_seed_twice_or_none_is_refused(seeds: list[SeedScores]) -> None:
    for wrong in ([], [seeds[0], seeds[0]]):
        with pytest.raises(MetricError):
            task_table(wrong)


def test_the_report_finds_what_was_put_in(seeds: list[SeedScores]) -> None:
    made = report(seeds)
    assert [kind.kind for kind in made.kinds] == list(Kind)
    for kind in made.kinds:
        assert kind.best is QsarArm.BOOSTED  # the least noise of those without pooling
        assert (kind.n_tasks, kind.n_assays) == (24, 8)
        order = [kind.means[arm, kind.metric] for arm in (QsarArm.ALONE, QsarArm.FEDERATED, QsarArm.POOLED)]
        assert order == sorted(order)
        gain = kind.gain(QsarArm.FEDERATED, QsarArm.ALONE)
        assert isinstance(gain.difference.mean, Estimate)
        assert gain.difference.mean.low > 0
        assert gain.difference.p_value < 0.05
        assert [group.n_tasks for group in kind.partners] == [8, 8, 8]
        assert sum(one.gains.n_tasks for one in kind.by_amount.bins) == kind.n_tasks
    conformal = made.kinds[0].conformal
    assert conformal is not None
    assert conformal.efficiency[1] > conformal.efficiency[0]
    assert conformal.validity[0] == pytest.approx(0.8, abs=0.08)
    assert made.kinds[1].conformal is None


def test_the_same_seeds_give_the_same_report(seeds: list[SeedScores]) -> None:
    first, second = (qsar_report_to_json(report(seeds)) for _ in range(2))
    assert json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)


def test_results_hold_finite_numbers_only(seeds: list[SeedScores]) -> None:
    text = json.dumps(qsar_report_to_json(report(seeds)), allow_nan=False)
    found = json.loads(text)
    assert found["schema"] == "pharmonia/qsar-comparison"
    assert {"means", "gains", "partners", "by_amount", "conformal"} <= set(found["kinds"][0])


def test_the_tidy_file_has_a_row_per_partner_task_and_arm(seeds: list[SeedScores]) -> None:
    made = report(seeds)
    rows = list(csv.DictReader(io.StringIO(tasks_csv(made).decode())))
    assert tuple(rows[0]) == TASK_COLUMNS
    assert len(rows) == len(made.table.tasks) * len(QsarArm)
    first = next(row for row in rows if row["arm"] == "pooled" and row["kind"] == "classification")
    expected = np.nanmean(made.table.values[QsarArm.POOLED, TaskMetric.AUROC][:, 0])
    assert float(first["auroc"]) == pytest.approx(expected, rel=1e-5)
    assert first["r2"] == ""


def test_what_is_left_out_stands_in_a_file_with_its_reason(seeds: list[SeedScores]) -> None:
    rows = list(csv.reader(io.StringIO(left_out_csv(report(seeds)).decode())))
    assert tuple(rows[0]) == LEFT_OUT_COLUMNS
    assert rows[1] == ["1", "Partner 2", "t", "no", "3 actives in the training folds"]


def test_the_report_in_words_says_who_gains(seeds: list[SeedScores]) -> None:
    made = report(seeds)
    markdown = render_qsar_markdown(made)
    assert "assays: federated is better than alone, 0." in markdown
    assert "; better than boosted, the best without pooling, 0." in markdown
    assert "3 of 3 partners have a better mean" in markdown
    assert "| N actives in the training folds | 1 | 0 |" in markdown
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(render_qsar_terminal(made))
    assert "federated" in console.export_text()


def test_a_gain_that_seeds_do_not_share_is_said_to_be_unclear(seeds: list[SeedScores]) -> None:
    made = report(seeds)
    assert "not clear over seeds" not in qsar_headline(made)
    unclear = Estimate(value=0.1, low=-0.1, high=0.3)
    kinds = tuple(
        replace(kind, gains=tuple(replace(gain, over_seeds=unclear) for gain in kind.gains)) for kind in made.kinds
    )
    assert "federated is better than alone, 0." in qsar_headline(replace(made, kinds=kinds))
    assert qsar_headline(replace(made, kinds=kinds)).count("not clear over seeds") == 4


def test_a_comparison_without_any_score_says_so(seeds: list[SeedScores]) -> None:
    empty = [
        replace(one, values={key: np.full(len(one.tasks), np.nan) for key in one.values}, reasons=("none",) * 48)
        for one in seeds
    ]
    made = report(empty)
    assert made.kinds == ()
    assert "No task has enough labels" in render_qsar_markdown(made)
    json.dumps(qsar_report_to_json(made), allow_nan=False)


def test_names_cannot_end_an_element_of_the_page(seeds: list[SeedScores]) -> None:
    evil = "</script><script>alert(1)</script>"
    made = replace(report(seeds), description=description(evil))
    page = render_qsar_html(made)
    assert evil not in page
    assert "&lt;/script&gt;" in page
