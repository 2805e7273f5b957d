"""A comparison on many tasks as JSON, the content of results.json."""

import math

from pharmonia.base.canonical import Json
from pharmonia.evaluate.gain import Estimate, Figure
from pharmonia.evaluate.perfection import TaskGains
from pharmonia.evaluate.qsar_gain import ArmGain
from pharmonia.evaluate.qsar_report import ConformalGain, GroupGain, KindReport, QsarReport
from pharmonia.evaluate.qsar_wording import qsar_headline

QSAR_SCHEMA = "pharmonia/qsar-comparison"
QSAR_SCHEMA_VERSION = 1


def qsar_report_to_json(report: QsarReport) -> dict[str, Json]:
    """Finite numbers only; what is not defined is null or states its reason. Gains are shares, intervals 95 %."""
    d = report.description
    return {
        "schema": QSAR_SCHEMA,
        "schema_version": QSAR_SCHEMA_VERSION,
        "headline": qsar_headline(report),
        "title": d.title,
        "n_seeds": d.n_seeds,
        "n_common_tasks": d.n_common_tasks,
        "facts": dict(d.facts),
        "leaks": list(d.leaks),
        "holdings": [
            {
                "partner": h.partner, "n_compounds": h.n_compounds, "n_train": h.n_train, "n_valid": h.n_valid,
                "n_test": h.n_test, "n_tasks": h.n_tasks, "n_counting": h.n_counting,
            }
            for h in d.holdings
        ],
        "n_untrained": len(d.untrained),
        "n_uncounted": len(report.uncounted),
        "costs": [
            {
                "arm": c.arm, "n_rounds": c.n_rounds, "cpu_s": c.cpu_s, "bytes_sent": c.bytes_sent,
                "n_clipped": c.n_clipped, "sum_error": c.sum_error,
            }
            for c in d.costs
        ],
        "kinds": [_kind(kind) for kind in report.kinds],
    }  # fmt: skip


def _kind(kind: KindReport) -> dict[str, Json]:
    arms = list(dict.fromkeys(arm for arm, _ in kind.means))
    metrics = list(dict.fromkeys(metric for _, metric in kind.means))
    return {
        "kind": kind.kind,
        "metric": kind.metric,
        "n_tasks": kind.n_tasks,
        "n_assays": kind.n_assays,
        "means": {arm: {metric: _number(kind.means[arm, metric]) for metric in metrics} for arm in arms},
        "best_alternative": kind.best,
        "gains": [_gain(gain) for gain in kind.gains],
        "partners": [_group(group) for group in kind.partners],
        "assay_types": [_group(group) for group in kind.assay_types],
        "by_amount": {
            "bins": [{"fewest": b.fewest, "most": b.most, **_task_gains(b.gains)} for b in kind.by_amount.bins],
            "rank_correlation": _number(kind.by_amount.trend),
            "p_value": _number(kind.by_amount.p_value),
        },
        "conformal": None if kind.conformal is None else _conformal(kind.conformal),
    }


def _gain(gain: ArmGain) -> dict[str, Json]:
    return {
        "new": gain.new,
        "base": gain.base,
        "proximity_to_perfection": _task_gains(gain.proximity),
        "difference": _task_gains(gain.difference),
        "difference_over_seeds": _figure(gain.over_seeds),
    }


def _group(group: GroupGain) -> dict[str, Json]:
    return {
        "name": group.name,
        "n_tasks": group.n_tasks,
        "alone": _number(group.alone),
        "federated": _number(group.federated),
        "over_alone": _gain(group.over_alone),
        "over_best_alternative": _gain(group.over_best),
    }


def _conformal(conformal: ConformalGain) -> dict[str, Json]:
    return {
        "error_rate": conformal.error_rate,
        "efficiency": {"alone": _number(conformal.efficiency[0]), "federated": _number(conformal.efficiency[1])},
        "validity": {"alone": _number(conformal.validity[0]), "federated": _number(conformal.validity[1])},
        "gain": _task_gains(conformal.gain),
    }


def _task_gains(gains: TaskGains) -> dict[str, Json]:
    return {
        "n_tasks": gains.n_tasks,
        "mean": _figure(gains.mean),
        "share_better": _number(gains.share_better),
        "p_value": _number(gains.p_value),
    }


def _figure(figure: Figure) -> Json:
    if isinstance(figure, Estimate):
        return {"value": figure.value, "low": figure.low, "high": figure.high}
    return {"undefined": figure.reason}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
