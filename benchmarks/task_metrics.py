"""Metrics of thousands of tasks at once against scikit-learn task by task, in one run.

Run: python benchmarks/task_metrics.py [--quick] [--save]. The last line is JSON. Of 3,000 tasks and 20,000 compounds,
a tenth of the pairs are labelled; with --save also all of them, which no assay table is.
"""

import argparse

import numpy as np
from scipy import stats
from sklearn import metrics as sk  # type: ignore[import-untyped]

from figures import Figure, at_least, at_most, cpu_s, publish
from pharmonia.evaluate.classification import classification_scores
from pharmonia.evaluate.conformal import calibrate, conformal_scores, prediction_sets
from pharmonia.evaluate.regression import regression_scores
from pharmonia.evaluate.tasks import TaskRows

N_TASKS, N_COMPOUNDS, LABELLED = 3000, 20_000, 0.1
GOAL_S = 3.0


def sample(labelled: float, *, is_class: bool) -> TaskRows:
    """Labels in the order of compounds, as assay tables have them; a fifth positive or a tenth bounds."""
    rng = np.random.default_rng(1)
    per_compound = round(N_TASKS * labelled)
    step = N_TASKS // per_compound
    task = (np.arange(per_compound) * step + rng.integers(0, step, (N_COMPOUNDS, 1))).astype(np.int32).reshape(-1)
    noise = rng.random(task.size, dtype=np.float32)
    if is_class:
        measured = (rng.random(task.size, dtype=np.float32) < 0.2).astype(np.float32)
        predicted = 0.8 * noise + 0.2 * measured
        censor = np.zeros(task.size, dtype=np.int8)
    else:
        measured = rng.random(task.size, dtype=np.float32).round(2)
        predicted = noise + measured
        censor = rng.choice(np.array([0] * 9 + [1], dtype=np.int8), task.size)
    return TaskRows(task=task, measured=measured, predicted=predicted, censor=censor, n_tasks=N_TASKS)


def plain_classification(rows: TaskRows, task: int) -> tuple[float, ...]:
    """One task by scikit-learn, as its users write it; without the best thresholds, which it does not have."""
    inside = rows.task == task
    y, p = rows.measured[inside].astype(int), rows.predicted[inside]
    precision, recall, _ = sk.precision_recall_curve(y, p)
    called = p >= np.float32(0.5)
    return (
        float(sk.roc_auc_score(y, p)),
        float(sk.auc(recall, precision)),
        float(sk.average_precision_score(y, p)),
        float(sk.f1_score(y, called)),
        float(sk.cohen_kappa_score(y, called)),
        float(sk.brier_score_loss(y, p)),
    )


def plain_regression(rows: TaskRows, task: int) -> tuple[float, ...]:
    """One task by scikit-learn and SciPy."""
    inside = (rows.task == task) & (rows.censor == 0)
    y, f = rows.measured[inside].astype(np.float64), rows.predicted[inside].astype(np.float64)
    return (
        float(sk.root_mean_squared_error(y, f)),
        float(sk.r2_score(y, f)),
        float(stats.pearsonr(y, f).statistic),
        float(stats.spearmanr(y, f).statistic),
    )


def measure_classification(n_times: int, n_plain: int) -> list[Figure]:
    """Our seconds for all tasks, and the ratio of the plain loop to them, checked to be equal."""
    rows = sample(LABELLED, is_class=True)
    ours = cpu_s(lambda: classification_scores(rows), n_times)
    found = classification_scores(rows)
    names = ("auroc", "auprc", "average_precision", "f1", "kappa", "brier")
    for task in range(n_plain):
        np.testing.assert_allclose(
            [getattr(found, name)[task] for name in names], plain_classification(rows, task), rtol=1e-6, atol=1e-9
        )
    few = _first_tasks(rows, n_plain)
    plain = cpu_s(lambda: [plain_classification(few, task) for task in range(n_plain)]) / n_plain * N_TASKS
    print(f"classification, {len(rows):,} labels: ours {ours:.2f}, plain {plain:.1f} CPU s for {N_TASKS:,} tasks")
    return [
        at_most("ten metrics, 3,000 tasks x 20,000 compounds: CPU s", ours, GOAL_S),
        at_least("classification, six metrics in a loop / ours (ten)", plain / ours, 10.0),
    ]


def measure_regression(n_times: int, n_plain: int) -> list[Figure]:
    """The same for values and bounds."""
    rows = sample(LABELLED, is_class=False)
    ours = cpu_s(lambda: regression_scores(rows), n_times)
    found = regression_scores(rows)
    for task in range(n_plain):
        expected = plain_regression(rows, task)
        got = [getattr(found, name)[task] for name in ("rmse", "r2", "pearson", "spearman")]
        np.testing.assert_allclose(got, expected, rtol=1e-9)
    print(f"regression, {len(rows):,} labels: ours {ours:.2f} CPU s")
    return [at_most("five metrics of regression, 3,000 tasks x 20,000 compounds: CPU s", ours, GOAL_S)]


def measure_conformal() -> Figure:
    """Calibration on half the labels, p-values, sets and scores of the other half."""
    rows = sample(LABELLED, is_class=True)
    middle = len(rows) // 2
    halves = [
        TaskRows(
            task=rows.task[part], measured=rows.measured[part], predicted=rows.predicted[part],
            censor=rows.censor[part], n_tasks=N_TASKS,
        )
        for part in (slice(None, middle), slice(middle, None))
    ]  # fmt: skip

    def work() -> None:
        p_values = calibrate(halves[0]).p_values(halves[1].task, halves[1].predicted)
        conformal_scores(halves[1], prediction_sets(p_values, 0.1))

    return at_most("conformal sets, 3,000,000 on 3,000,000 labels: CPU s", cpu_s(work), 10.0)


def _first_tasks(rows: TaskRows, n_tasks: int) -> TaskRows:
    """So that the plain loop does not pay for finding its rows."""
    keep = rows.task < n_tasks
    return TaskRows(
        task=rows.task[keep], measured=rows.measured[keep], predicted=rows.predicted[keep], censor=rows.censor[keep],
        n_tasks=n_tasks,
    )  # fmt: skip


def main() -> None:
    """Measure, print a line per figure, then the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under 50 s on one core")
    parser.add_argument("--save", action="store_true", help="write results/task_metrics.json")
    options = parser.parse_args()
    n_times, n_plain = (1, 30) if options.quick else (3, 100)
    figures = [*measure_classification(n_times, n_plain), *measure_regression(n_times, n_plain), measure_conformal()]
    if options.save:
        dense = sample(1.0, is_class=True)
        seconds = cpu_s(lambda: classification_scores(dense))
        print(f"every pair labelled, {len(dense):,} labels: {seconds:.1f} CPU s")
    publish("task_metrics", figures, save=options.save)


if __name__ == "__main__":
    main()
