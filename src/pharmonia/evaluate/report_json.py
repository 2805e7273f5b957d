"""The report as JSON, the content of results.json, and back; later tools read this."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from enum import StrEnum
from typing import TypeVar

import numpy as np

from pharmonia.base.canonical import Json
from pharmonia.base.errors import DataFileError, MetricError
from pharmonia.evaluate.gain import (
    LEVEL,
    ArmScores,
    Comparison,
    Estimate,
    Figure,
    TestRows,
    Undefined,
    Verdict,
)
from pharmonia.evaluate.metrics import Metric
from pharmonia.evaluate.outcome import Arm, Cost, Curve, Holding, Holdings, RunDescription
from pharmonia.evaluate.report import AgreementGrid, Report
from pharmonia.evaluate.wording import headline, verdict_sentence

SCHEMA = "pharmonia/comparison"
SCHEMA_VERSION = 2
_SHARE = "share of the alternative's MSE"
_GAINS = {
    "gain": _SHARE,
    "gain_over_alone": _SHARE,
    "gain_over_ensemble": _SHARE,
    "gain_over_seeds": _SHARE,
    "gain_of_pooling": _SHARE,
    "gap_closed": "share of (best alternative - pooled) MSE",
}
_HOLDING_COUNTS = ("n_train", "n_valid", "n_test", "n_compounds", "n_targets")
_COST_UNITS = {
    "n_rounds": "rounds",
    "wall_s": "seconds",
    "cpu_s": "seconds",
    "bytes_to_partners": "bytes",
    "bytes_from_partners": "bytes",
    "n_clipped": "elements",
    "sum_error": "share of the largest element of its tensor",
}
Value = TypeVar("Value")
Name = TypeVar("Name", bound=StrEnum)


def report_to_json(report: Report) -> dict[str, Json]:
    """The report with metric names and units on every number; finite numbers only, keys are stable."""
    measure = report.description.measure
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "headline": headline(report),
        "verdict": report.overall.verdict.value,
        "run": _run_to_json(report.description),
        "n_resamples": report.n_resamples,
        "interval_level": LEVEL,
        "comparisons": [_comparison_to_json(c, measure) for c in report.comparisons],
        "ownership": _holdings_to_json(report.holdings),
        "learning_curves": [_curve_to_json(curve, measure) for curve in report.curves],
        "costs": [
            {"arm": cost.arm.value}
            | {name: {"value": getattr(cost, name), "unit": unit} for name, unit in _COST_UNITS.items()}
            for cost in report.costs
        ],
        "agreement": {
            "unit": measure,
            "axes": ["arm", "measured", "predicted"],
            "edges": report.agreement.edges.tolist(),
            "counts": {arm.value: table.tolist() for arm, table in zip(Arm, report.agreement.counts, strict=True)},
        },
    }


def _run_to_json(description: RunDescription) -> dict[str, Json]:
    run: dict[str, Json] = {field.name: getattr(description, field.name) for field in fields(description)}
    return run | {"seeds": list(description.seeds), "digests": dict(description.digests)}


def _figure_to_json(figure: Figure, unit: str) -> dict[str, Json]:
    if isinstance(figure, Undefined):
        return {"undefined": figure.reason, "unit": unit}
    return {"value": figure.value, "low": figure.low, "high": figure.high, "unit": unit}


def _comparison_to_json(comparison: Comparison, measure: str) -> dict[str, Json]:
    best = comparison.best_alternative
    gains: dict[str, Json] = {name: _figure_to_json(getattr(comparison, name), unit) for name, unit in _GAINS.items()}
    scores: dict[str, Json] = {
        arm.arm.value: {metric.value: _figure_to_json(arm.of(metric), metric.unit(measure)) for metric in Metric}
        for arm in comparison.scores
    }
    return {
        "partner": comparison.partner,
        "rows": comparison.rows.value,
        "n_rows": comparison.n_rows,
        "verdict": comparison.verdict.value,
        "sentence": verdict_sentence(comparison),
        "best_alternative": None if best is None else best.value,
        **gains,
        "scores": scores,
    }


def _holdings_to_json(holdings: Holdings) -> dict[str, Json]:
    return {
        "partners": [
            {"partner": holding.partner} | {name: getattr(holding, name) for name in _HOLDING_COUNTS}
            for holding in holdings.partners
        ],
        "shared_compounds": holdings.shared_compounds.tolist(),
        "shared_targets": holdings.shared_targets.tolist(),
    }


def _curve_to_json(curve: Curve, measure: str) -> dict[str, Json]:
    return {
        "arm": curve.arm.value,
        "partner": curve.partner,
        "metric": "validation mse",
        "unit": Metric.MSE.unit(measure),
        "valid_mse": curve.valid_mse.tolist(),
        "best_round": curve.best_round,
        "first_round": 0,
    }


@dataclass(frozen=True, slots=True)
class _Node:
    """A JSON value and where it stands, so that a refusal can name the place."""

    value: Json
    path: str

    def refuse(self, expected: str) -> DataFileError:
        return DataFileError(f"results at {self.path or 'the top'}: expected {expected}, got {self.value!r:.80}")

    def at(self, key: str) -> "_Node":
        if not isinstance(self.value, Mapping):
            raise self.refuse("an object")
        if key not in self.value:
            raise DataFileError(f"results at {self.path or 'the top'}: {key!r} is missing")
        return _Node(self.value[key], f"{self.path}.{key}".lstrip("."))

    def items(self) -> list["_Node"]:
        if not isinstance(self.value, Sequence) or isinstance(self.value, str):
            raise self.refuse("a list")
        return [_Node(item, f"{self.path}[{i}]") for i, item in enumerate(self.value)]

    def keys(self) -> list[str]:
        if not isinstance(self.value, Mapping):
            raise self.refuse("an object")
        return list(self.value)

    def text(self) -> str:
        if not isinstance(self.value, str):
            raise self.refuse("text")
        return self.value

    def integer(self) -> int:
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            raise self.refuse("a whole number")
        return self.value

    def number(self) -> float:
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise self.refuse("a number")
        if not math.isfinite(self.value):
            raise self.refuse("a finite number")
        return float(self.value)

    def name(self, names: type[Name]) -> Name:
        if self.value not in list(names):
            raise self.refuse(f"one of {[name.value for name in names]}")
        return names(self.text())

    def or_none(self, read: Callable[["_Node"], Value]) -> Value | None:
        return None if self.value is None else read(self)


def report_from_json(value: Json) -> Report:
    """The report whose `report_to_json` this is.

    Raises:
        DataFileError: Another schema or version, a field missing, of another type or against its rules;
            names the place.
    """
    top = _Node(value, "")
    schema, version = top.at("schema").text(), top.at("schema_version").integer()
    if (schema, version) != (SCHEMA, SCHEMA_VERSION):
        raise DataFileError(f"expected {SCHEMA} version {SCHEMA_VERSION}, got {schema} version {version}")
    try:
        return Report(
            description=_read_run(top.at("run")),
            n_resamples=top.at("n_resamples").integer(),
            comparisons=tuple(_read_comparison(node) for node in top.at("comparisons").items()),
            holdings=_read_holdings(top.at("ownership")),
            curves=tuple(_read_curve(node) for node in top.at("learning_curves").items()),
            costs=tuple(_read_cost(node) for node in top.at("costs").items()),
            agreement=_read_agreement(top.at("agreement")),
        )
    except MetricError as error:
        raise DataFileError(f"results contradict themselves: {error}") from error


def _read_run(node: _Node) -> RunDescription:
    digests, seeds = node.at("digests"), node.at("seeds")
    readers: dict[type, Callable[[_Node], str | int | float]] = {
        str: _Node.text,
        int: _Node.integer,
        float: _Node.number,
    }
    plain = {
        field.name: readers[field.type](node.at(field.name))
        for field in fields(RunDescription)
        if isinstance(field.type, type) and field.type in readers and _is_due(field, node)
    }
    return RunDescription(
        **plain,  # type: ignore[arg-type]  # each was read as its field's own type
        seeds=tuple(seed.integer() for seed in seeds.items()),
        digests=tuple((name, digests.at(name).text()) for name in digests.keys()),  # noqa: SIM118
    )


def _is_due(field: "Field[object]", node: _Node) -> bool:
    """Whether a field is read: all are, but those that came later and are left out in older results."""
    return field.default is MISSING or field.name in node.keys()  # noqa: SIM118


def _read_figure(node: _Node) -> Figure:
    if "undefined" in node.keys():  # noqa: SIM118
        return Undefined(reason=node.at("undefined").text())
    value, low, high = (node.at(key).number() for key in ("value", "low", "high"))
    return Estimate(value=value, low=low, high=high)


def _read_comparison(node: _Node) -> Comparison:
    scores = node.at("scores")
    return Comparison(
        partner=node.at("partner").or_none(_Node.text),
        rows=node.at("rows").name(TestRows),
        n_rows=node.at("n_rows").integer(),
        verdict=node.at("verdict").name(Verdict),
        best_alternative=node.at("best_alternative").or_none(lambda best: best.name(Arm)),
        scores=tuple(
            ArmScores(arm=arm, **{m.value: _read_figure(scores.at(arm.value).at(m.value)) for m in Metric})
            for arm in Arm
        ),
        **{name: _read_figure(node.at(name)) for name in _GAINS},
    )


def _matrix(node: _Node) -> list[list[int]]:
    return [[cell.integer() for cell in row.items()] for row in node.items()]


def _read_holdings(node: _Node) -> Holdings:
    return Holdings(
        partners=tuple(
            Holding(
                partner=item.at("partner").text(),
                **{name: item.at(name).integer() for name in _HOLDING_COUNTS},
            )
            for item in node.at("partners").items()
        ),
        shared_compounds=np.array(_matrix(node.at("shared_compounds")), dtype=np.int64),
        shared_targets=np.array(_matrix(node.at("shared_targets")), dtype=np.int64),
    )


def _read_curve(node: _Node) -> Curve:
    return Curve(
        arm=node.at("arm").name(Arm),
        partner=node.at("partner").or_none(_Node.text),
        valid_mse=np.array([item.number() for item in node.at("valid_mse").items()]),
        best_round=node.at("best_round").integer(),
    )


def _read_cost(node: _Node) -> Cost:
    return Cost(
        arm=node.at("arm").name(Arm),
        wall_s=node.at("wall_s").at("value").number(),
        cpu_s=node.at("cpu_s").at("value").number(),
        sum_error=node.at("sum_error").at("value").or_none(_Node.number),
        **{
            name: node.at(name).at("value").integer()
            for name in ("n_rounds", "bytes_to_partners", "bytes_from_partners", "n_clipped")
        },
    )


def _read_agreement(node: _Node) -> AgreementGrid:
    tables = [_matrix(node.at("counts").at(arm.value)) for arm in Arm]
    if len({len(row) for table in tables for row in table}) > 1:
        raise node.refuse("square tables of counts")
    return AgreementGrid(
        edges=np.array([edge.number() for edge in node.at("edges").items()]),
        counts=np.array(tables, dtype=np.int64),
    )
