"""Every task of every partner and arm, and every task that was left out, as tidy CSV files."""

import csv
import io
import math

from pharmonia.evaluate.qsar import TaskMetric
from pharmonia.evaluate.qsar_gain import mean_over_seeds
from pharmonia.evaluate.qsar_report import QsarReport

TASK_COLUMNS = (
    "partner", "task", "assay", "assay_type", "kind", "arm", "n_seeds", "n_train", "n_test",
    *(metric.value for metric in TaskMetric), "efficiency", "validity",
)  # fmt: skip


def tasks_csv(report: QsarReport) -> bytes:
    """UTF-8 with a header, one row per partner, task and arm; metrics are means over the seeds that define them.

    Labels are means over the seeds, too, as each seed shares out anew. A task that counts under no seed is left out;
    `left_out_csv` has it. Empty: no seed defines the metric. Numbers have six significant digits.
    """
    table = report.table
    values = {key: mean_over_seeds(column) for key, column in table.values.items()}
    efficiency = {arm: mean_over_seeds(column) for arm, column in table.efficiency.items()}
    validity = {arm: mean_over_seeds(column) for arm, column in table.validity.items()}
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(TASK_COLUMNS)
    for index, task in enumerate(table.tasks):
        if not table.n_seeds[index]:
            continue
        for arm in table.arms:
            metrics = (values[arm, metric][index] for metric in TaskMetric)
            numbers = (
                table.n_train[index],
                table.n_test[index],
                *metrics,
                efficiency[arm][index],
                validity[arm][index],
            )
            named = (task.partner, task.task_id, task.assay_id, task.assay_type, task.kind.value, arm.value)
            writer.writerow((*named, int(table.n_seeds[index]), *map(_short, numbers)))
    return stream.getvalue().encode()


LEFT_OUT_COLUMNS = ("seed", "partner", "task", "trained", "reason")


def left_out_csv(report: QsarReport) -> bytes:
    """UTF-8 with a header, one row per seed, partner and task that is not trained, or whose scores do not count."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(LEFT_OUT_COLUMNS)
    writer.writerows((one.seed, one.partner, one.task_id, "no", one.reason) for one in report.description.untrained)
    writer.writerows((seed, partner, task, "yes", reason) for seed, partner, task, reason in report.uncounted)
    return stream.getvalue().encode()


def _short(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else ""
