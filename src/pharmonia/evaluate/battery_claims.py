"""Three claims of the published benchmark put to the test, each with a verdict, its numbers and a sentence.

Mittone et al. 2023 (arXiv:2302.07684) claim that federating is up to 15 % better than the best alternative
without pooling, that ownership which is not IID does not hurt, and that more data helps but more partners cost.
docs/battery-report.md states the rules.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from pharmonia.base.errors import MetricError
from pharmonia.evaluate.battery import CellKey
from pharmonia.evaluate.battery_scenarios import balanced
from pharmonia.evaluate.battery_stats import ALPHA, OverSeeds, SettingResult, holm_over_tests, over_seeds, t_test
from pharmonia.evaluate.battery_wording import (
    nothing_compared,
    setting_name,
    share_text,
    varying_fields,
)
from pharmonia.evaluate.gain import Undefined
from pharmonia.evaluate.wording import count_text, percent

CLAIMED_GAIN = 0.15  # share of the best alternative's MSE
MARGIN = 0.05  # relative change of the MSE that counts as a change
_MARGIN = f"{100 * MARGIN:g} %"
_NOT_ANOTHER_OWNERSHIP = frozenset({"iid", "weak", "size-skew"})  # sizes may differ, kinds of rows do not

Errors = Mapping[CellKey, Mapping[int, float]]  # federated MSE by setting and seed, all above zero


class Answer(StrEnum):
    """Verdict on a claim."""

    SUPPORTED = "supported"
    NOT_SUPPORTED = "not supported"
    CANNOT_SAY = "cannot say"


class Finding(StrEnum):
    """Whether an effect reaches its threshold."""

    SHOWN = "shown"  # the mean does, and the effect is clearly not zero
    RULED_OUT = "ruled out"  # the whole interval lies below the threshold
    OPEN = "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One number that a claim rests on: a share, positive in the direction that the threshold speaks of."""

    what: str
    size: OverSeeds
    threshold: float
    p_adjusted: float | None  # of an effect of zero, two-sided, after the correction that the claim needs
    n_settings: int  # averaged over under each seed

    @property
    def finding(self) -> Finding:
        """Shown, ruled out, or open; always open with one seed."""
        if self.size.high < self.threshold:
            return Finding.RULED_OUT
        clear = self.p_adjusted is not None and self.p_adjusted < ALPHA
        return Finding.SHOWN if clear and self.size.value >= self.threshold else Finding.OPEN


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimResult:
    """One claim with its verdict."""

    statement: str
    rule: str  # when it would be supported, and when not
    answer: Answer
    sentence: str
    effects: tuple[Effect, ...]  # largest first

    def __post_init__(self) -> None:
        """Refuse an empty sentence, and a verdict without numbers."""
        if not self.sentence or (self.answer is not Answer.CANNOT_SAY and not self.effects):
            raise MetricError("a claim's verdict needs a sentence and, unless it cannot be said, numbers")


def judge_claims(settings: Sequence[SettingResult]) -> tuple[ClaimResult, ClaimResult, ClaimResult]:
    """The three claims in the paper's order."""
    return judge_gain(settings), judge_ownership(settings), judge_growth(settings)


def judge_gain(settings: Sequence[SettingResult]) -> ClaimResult:
    """Is federating up to 15 % better? Some setting must clearly be, or every setting's interval end below."""
    varying = varying_fields([setting.key for setting in settings])
    effects = [
        Effect(
            what=setting_name(setting.key, varying),
            size=setting.gain,
            threshold=CLAIMED_GAIN,
            p_adjusted=setting.p_adjusted,
            n_settings=1,
        )
        for setting in settings
        if not isinstance(setting.gain, Undefined)
    ]
    effects.sort(key=lambda effect: -effect.size.value)
    answer = _any_shown(effects)
    return ClaimResult(
        statement="Federating is up to 15 % better than the best alternative without pooling.",
        rule="Supported if in some setting the mean gain is at least 15 % of the best alternative's test MSE and "
        "clearly above zero (Holm over all settings); not supported if every setting's 95 % interval ends below 15 %.",
        answer=answer,
        sentence=_gain_sentence(effects, answer) if effects else nothing_compared(settings),
        effects=tuple(effects),
    )


def _any_shown(effects: Sequence[Effect]) -> Answer:
    """Whether an effect of the threshold's size exists among these."""
    findings = {effect.finding for effect in effects}
    if Finding.SHOWN in findings:
        return Answer.SUPPORTED
    return Answer.NOT_SUPPORTED if findings == {Finding.RULED_OUT} else Answer.CANNOT_SAY


def _gain_sentence(effects: Sequence[Effect], answer: Answer) -> str:
    top = effects[0]
    largest = f"{share_text(top.size)} in {top.what}"
    match answer:
        case Answer.SUPPORTED:
            shown = [effect for effect in effects if effect.finding is Finding.SHOWN]
            return (
                f"In {len(shown)} of {count_text(len(effects), 'setting')} the mean gain is 15 % or more and clearly "
                f"above zero; the most is {share_text(shown[0].size)} in {shown[0].what}."
            )
        case Answer.NOT_SUPPORTED:
            return (
                f"The largest of {len(effects)} mean gains is {largest}, and every interval ends below 15 %."
                if len(effects) > 1
                else f"The gain is {largest}, and its interval ends below 15 %."
            )
        case Answer.CANNOT_SAY:
            if all(effect.size.half_width is None for effect in effects):
                return f"One seed only, so nothing can be tested; the largest gain is {largest}."
            reach = sum(effect.finding is Finding.OPEN for effect in effects)
            return (
                f"The largest mean gain is {largest}. In no setting is it both 15 % or more and clearly above zero, "
                f"but in {reach} of {count_text(len(effects), 'setting')} a gain of 15 % cannot be ruled out; more "
                "seeds would tell."
            )


def judge_ownership(settings: Sequence[SettingResult]) -> ClaimResult:
    """Does ownership that is not IID hurt? Federated MSE against IID's, same seeds and everything else equal."""
    errors = _federated_errors(settings)
    scenarios = sorted({(k.dataset, k.scenario) for k in errors if k.kind not in _NOT_ANOTHER_OWNERSHIP})
    several = len({dataset for dataset, _ in scenarios}) > 1
    changes: dict[str, tuple[list[float], int]] = {}
    for dataset, scenario in scenarios:
        values, n_settings = _change_against_iid(errors, dataset, scenario)
        if values:
            changes[f"{scenario} ({dataset})" if several else scenario] = (values, n_settings)
    adjusted = holm_over_tests({name: t_test(values) for name, (values, _) in changes.items()})
    effects = [
        Effect(
            what=f"{name} against iid",
            size=over_seeds(values),
            threshold=MARGIN,
            p_adjusted=adjusted[name],
            n_settings=n_settings,
        )
        for name, (values, n_settings) in changes.items()
    ]
    effects.sort(key=lambda effect: -effect.size.value)
    harm = _any_shown(effects)
    opposite = {Answer.SUPPORTED: Answer.NOT_SUPPORTED, Answer.NOT_SUPPORTED: Answer.SUPPORTED}
    answer = opposite.get(harm, Answer.CANNOT_SAY)
    return ClaimResult(
        statement="Ownership that is not IID does not hurt federated training.",
        rule="Rise of the federated test MSE against IID at equal partners, model, method and seed, averaged over the "
        f"settings of a scenario under each seed. A rise of {_MARGIN} or more counts as harm. Supported if "
        f"every scenario's 95 % interval ends below {_MARGIN}; not supported if some scenario's mean rise "
        "reaches it and is clearly above zero (Holm over scenarios).",
        answer=answer,
        sentence=_ownership_sentence(effects, answer),
        effects=tuple(effects),
    )


def _change_against_iid(errors: Errors, dataset: str, scenario: str) -> tuple[list[float], int]:
    """Per seed the mean over settings of MSE / IID's MSE - 1, and over how many settings."""
    pairs = [
        (key, twin)
        for key in errors
        if (key.dataset, key.scenario) == (dataset, scenario)
        for twin in [replace(key, scenario="iid")]
        if twin in errors
    ]
    shared = {key: frozenset(errors[key]) & frozenset(errors[twin]) for key, twin in pairs}
    kept, seeds = balanced(shared)
    twins = dict(pairs)
    return [
        float(np.mean([errors[key][seed] / errors[twins[key]][seed] - 1.0 for key in kept])) for seed in seeds
    ], len(kept)


def _ownership_sentence(effects: Sequence[Effect], answer: Answer) -> str:
    if not effects:
        return "The battery has no scenario beside IID at equal partners, model, method and seed."
    most = _scenario_text(effects[0])
    n = count_text(len(effects), "scenario")
    match answer:
        case Answer.SUPPORTED:
            return (
                f"The largest mean rise of the federated MSE over {n} is {most}, and every interval ends below "
                f"{_MARGIN}."
                if len(effects) > 1
                else f"The mean rise of the federated MSE is {most}, and its interval ends below {_MARGIN}."
            )
        case Answer.NOT_SUPPORTED:
            shown = [effect for effect in effects if effect.finding is Finding.SHOWN]
            return (
                f"In {len(shown)} of {n} the mean rise of the federated MSE is {_MARGIN} or more and clearly above "
                f"zero; the most is {_scenario_text(shown[0])}."
            )
        case Answer.CANNOT_SAY:
            if all(effect.size.half_width is None for effect in effects):
                return f"One seed only, so nothing can be tested; the largest rise of the federated MSE is {most}."
            n_open = sum(effect.finding is Finding.OPEN for effect in effects)
            return (
                f"In no scenario is the mean rise of the federated MSE both {_MARGIN} or more and clearly above zero, "
                f"but in {n_open} of {n} a rise of {_MARGIN} cannot be ruled out; the largest mean rise is {most}."
            )


def _scenario_text(effect: Effect) -> str:
    return f"{share_text(effect.size)} ({effect.what}, mean over {count_text(effect.n_settings, 'setting')})"


def judge_growth(settings: Sequence[SettingResult]) -> ClaimResult:
    """Does more data help and do more partners cost? Trends of the federated MSE in the weak scenario."""
    errors = {
        key: values for key, values in _federated_errors(settings).items() if key.kind == "weak" and key.parameter > 0
    }
    data, partners = _trend(errors, by_share=True), _trend(errors, by_share=False)
    effects = []
    if data is not None:
        what = f"fall from a share of {percent(data.low)} to {percent(data.high)}"
        effects.append(_growth_effect(what, [-change for change in data.changes], data.n_settings))
    if partners is not None:
        what = f"rise from {partners.low:g} to {partners.high:g} partners"
        effects.append(_growth_effect(what, partners.changes, partners.n_settings))
    answer = Answer.CANNOT_SAY
    if any(effect.finding is Finding.RULED_OUT for effect in effects):
        answer = Answer.NOT_SUPPORTED
    elif len(effects) == 2 and all(effect.finding is Finding.SHOWN for effect in effects):
        answer = Answer.SUPPORTED
    return ClaimResult(
        statement="More data helps, but more partners cost.",
        rule="Weak scenario: trend of the federated test MSE with the share of the rest at equal partners, and with "
        "the partners at equal share (slope of ln MSE on log2, all else equal), as the change over the tested range. "
        f"Supported if the fall and the rise both reach {_MARGIN} and are clearly above zero; not supported if "
        f"the 95 % interval of either ends below {_MARGIN}.",
        answer=answer,
        sentence=_growth_sentence(data, partners, effects),
        effects=tuple(effects),
    )


def _growth_effect(what: str, values: Sequence[float], n_settings: int) -> Effect:
    return Effect(
        what=what,
        size=over_seeds(values),
        threshold=MARGIN,
        p_adjusted=t_test(values),  # both effects must be shown, so none is corrected
        n_settings=n_settings,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trend:
    """How the federated MSE changes between the smallest and the largest share or number of partners."""

    low: float
    high: float
    changes: tuple[float, ...]  # relative, one per seed
    n_settings: int


def _trend(errors: Errors, *, by_share: bool) -> _Trend | None:
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
    return _Trend(low=low, high=high, changes=changes, n_settings=len(used))


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
            return f"the mean {direction} is {_MARGIN} or more and clearly above zero"
        case Finding.RULED_OUT:
            return f"a {direction} of {_MARGIN} is ruled out"
        case Finding.OPEN:
            return f"a {direction} of {_MARGIN} is neither shown nor ruled out"


def _federated_errors(settings: Sequence[SettingResult]) -> dict[CellKey, dict[int, float]]:
    return {
        setting.key: dict(zip(setting.seeds, setting.federated_mse, strict=True))
        for setting in settings
        if setting.federated_mse and min(setting.federated_mse) > 0
    }
