"""The third claim of the published benchmark: more data helps, but more partners cost."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pharmonia.evaluate.battery import CellKey
from pharmonia.evaluate.battery_effects import (
    MARGIN,
    MARGIN_TEXT,
    Answer,
    ClaimResult,
    Effect,
    Errors,
    Finding,
    TestedRows,
    federated_errors,
    rows_by_seed,
    rows_note,
)
from pharmonia.evaluate.battery_rows import Sameness, sameness
from pharmonia.evaluate.battery_scenarios import balanced
from pharmonia.evaluate.battery_stats import SettingResult, over_seeds, t_test
from pharmonia.evaluate.battery_wording import share_text
from pharmonia.evaluate.wording import percent


def judge_growth(settings: Sequence[SettingResult]) -> ClaimResult:
    """Does more data help and do more partners cost? Trends of the federated MSE in the weak scenario."""
    errors = {
        key: values for key, values in federated_errors(settings).items() if key.kind == "weak" and key.parameter > 0
    }
    rows = rows_by_seed(settings)
    data, partners = _trend(errors, rows, by_share=True), _trend(errors, rows, by_share=False)
    effects = []
    if data is not None:
        what = f"fall from a share of {percent(data.low)} to {percent(data.high)}"
        effects.append(_growth_effect(what, [-change for change in data.changes], data))
    if partners is not None:
        what = f"rise from {partners.low:g} to {partners.high:g} partners"
        effects.append(_growth_effect(what, partners.changes, partners))
    answer = Answer.CANNOT_SAY
    if any(effect.finding is Finding.RULED_OUT for effect in effects):
        answer = Answer.NOT_SUPPORTED
    elif len(effects) == 2 and all(effect.finding is Finding.SHOWN for effect in effects):
        answer = Answer.SUPPORTED
    return ClaimResult(
        statement="More data helps, but more partners cost.",
        rule="Weak scenario: trend of the federated test MSE with the share of the rest at equal partners, and with "
        "the partners at equal share (slope of ln MSE on log2, all else equal), as the change over the tested range. "
        f"Supported if the fall and the rise both reach {MARGIN_TEXT} and are clearly above zero; not supported if "
        f"the 95 % interval of either ends below {MARGIN_TEXT}.",
        answer=answer,
        sentence=" ".join(filter(None, (_growth_sentence(data, partners, effects), rows_note(effects)))),
        effects=tuple(effects),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trend:
    """How the federated MSE changes between the smallest and the largest share or number of partners."""

    low: float
    high: float
    changes: tuple[float, ...]  # relative, one per seed
    n_settings: int
    rows: Sameness  # of the settings of a group, under each seed


def _growth_effect(what: str, values: Sequence[float], trend: _Trend) -> Effect:
    return Effect(
        what=what,
        size=over_seeds(values),
        threshold=MARGIN,
        p_adjusted=t_test(values),  # both effects must be shown, so none is corrected
        n_settings=trend.n_settings,
        rows=trend.rows,
    )


def _trend(errors: Errors, rows: TestedRows, *, by_share: bool) -> _Trend | None:
    """Relative change of the MSE over the tested range of x under each seed.

    Least squares within groups that differ in x alone: slope = sum (x - x_g)(y - y_g) / sum (x - x_g)^2 with
    x = log2 of share or partners, y = ln MSE, and x_g, y_g the means of a group. None without two values of x.
    """
    kept, seeds = balanced({key: frozenset(values) for key, values in errors.items()})
    groups: dict[CellKey, list[CellKey]] = defaultdict(list)
    for key in kept:
        groups[replace(key, scenario="weak") if by_share else replace(key, n_partners=1)].append(key)
    x_of = {key: key.parameter if by_share else float(key.n_partners) for key in kept}
    usable = [group for group in groups.values() if len({x_of[key] for key in group}) > 1]
    used = [key for group in usable for key in group]
    if not used:
        return None
    low, high = min(x_of[key] for key in used), max(x_of[key] for key in used)
    slopes = [_slope(usable, x_of, {key: errors[key][seed] for key in used}) for seed in seeds]
    changes = tuple(math.expm1(slope * math.log2(high / low)) for slope in slopes)
    compared = sameness([rows[key][seed] for key in group] for group in usable for seed in seeds)
    return _Trend(low=low, high=high, changes=changes, n_settings=len(used), rows=compared)


def _slope(groups: Sequence[Sequence[CellKey]], x_of: Mapping[CellKey, float], mse: Mapping[CellKey, float]) -> float:
    sxy = sxx = 0.0
    for group in groups:
        x, y = np.log2([x_of[key] for key in group]), np.log([mse[key] for key in group])
        sxy += float((x - x.mean()) @ (y - y.mean()))
        sxx += float((x - x.mean()) @ (x - x.mean()))
    return sxy / sxx


def _growth_sentence(data: _Trend | None, partners: _Trend | None, effects: Sequence[Effect]) -> str:
    if not effects:
        return "The battery has no weak scenario with several shares or several numbers of partners."
    parts = []
    if data is not None:
        change = share_text(over_seeds(data.changes))
        start = f"From a share of {percent(data.low)} to {percent(data.high)} the federated MSE changes by {change}"
        parts.append(f"{start}: {_found('fall', effects[0])}.")
    if partners is not None:
        change = share_text(over_seeds(partners.changes))
        start = f"From {partners.low:g} to {partners.high:g} partners the federated MSE changes by {change}"
        parts.append(f"{start}: {_found('rise', effects[-1])}.")
    if effects[0].size.half_width is None:
        parts.append("One seed only, so nothing can be tested.")
    if data is None:
        parts.append("Several shares at equal partners are missing.")
    if partners is None:
        parts.append("Several numbers of partners at equal share are missing.")
    return " ".join(parts)


def _found(direction: str, effect: Effect) -> str:
    match effect.finding:
        case Finding.SHOWN:
            return f"the mean {direction} is {MARGIN_TEXT} or more and clearly above zero"
        case Finding.RULED_OUT:
            return f"a {direction} of {MARGIN_TEXT} is ruled out"
        case Finding.OPEN:
            return f"a {direction} of {MARGIN_TEXT} is neither shown nor ruled out"
