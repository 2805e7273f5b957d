"""Three claims of the published benchmark put to the test, each with a verdict, its numbers and a sentence.

Mittone et al. 2023 (arXiv:2302.07684) claim that federating is up to 15 % better than the best alternative
without pooling, that ownership which is not IID does not hurt, and that more data helps but more partners cost.
docs/battery-report.md states the rules; `battery_growth` judges the third.
"""

from collections.abc import Sequence
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
    any_shown,
    federated_errors,
    rows_by_seed,
    rows_note,
)
from pharmonia.evaluate.battery_growth import judge_growth
from pharmonia.evaluate.battery_plan import Plan
from pharmonia.evaluate.battery_rows import Sameness, sameness
from pharmonia.evaluate.battery_scenarios import balanced
from pharmonia.evaluate.battery_stats import SettingResult, holm_over_tests, over_seeds, t_test
from pharmonia.evaluate.battery_wording import (
    not_counted,
    nothing_compared,
    setting_name,
    share_text,
    varying_fields,
)
from pharmonia.evaluate.gain import Undefined
from pharmonia.evaluate.wording import count_text

CLAIMED_GAIN = 0.15  # share of the best alternative's MSE
_NOT_ANOTHER_OWNERSHIP = frozenset({"iid", "weak", "size-skew"})  # sizes may differ, kinds of rows do not


def judge_claims(settings: Sequence[SettingResult], plan: Plan) -> tuple[ClaimResult, ClaimResult, ClaimResult]:
    """The three claims in the paper's order."""
    return judge_gain(settings), judge_ownership(settings, plan), judge_growth(settings)


def judge_gain(settings: Sequence[SettingResult]) -> ClaimResult:
    """Is federating up to 15 % better? Some setting must clearly be, or every setting's interval end below.

    Only settings in which alone and an ensemble both ran count: without one of them the best alternative is not known.
    """
    varying = varying_fields([setting.key for setting in settings])
    effects = [
        Effect(
            what=setting_name(setting.key, varying),
            size=setting.gain,
            threshold=CLAIMED_GAIN,
            p_adjusted=setting.p_adjusted,
            n_settings=1,
            rows=Sameness.SAME,  # every arm of a cell predicts the same rows
        )
        for setting in settings
        if not isinstance(setting.gain, Undefined) and not setting.lacks
    ]
    effects.sort(key=lambda effect: -effect.size.value)
    answer = any_shown(effects)
    has_gain = any(not isinstance(setting.gain, Undefined) for setting in settings)
    said = _gain_sentence(effects, answer) if effects else "" if has_gain else nothing_compared(settings)
    return ClaimResult(
        statement="Federating is up to 15 % better than the best alternative without pooling.",
        rule="Supported if in some setting the mean gain is at least 15 % of the best alternative's test MSE and "
        "clearly above zero (Holm over all planned settings); not supported if every setting's 95 % interval ends "
        "below 15 %. Settings count in which alone and an ensemble ran.",
        answer=answer,
        sentence=" ".join(filter(None, (said, not_counted(settings)))),
        effects=tuple(effects),
    )


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """How one scenario's federated MSE stands to IID's."""

    values: tuple[float, ...]  # one per seed: mean over settings of MSE / IID's MSE - 1
    n_settings: int
    rows: Sameness


def judge_ownership(settings: Sequence[SettingResult], plan: Plan) -> ClaimResult:
    """Does ownership that is not IID hurt? Federated MSE against IID's, same seeds and everything else equal."""
    errors, rows = federated_errors(settings), rows_by_seed(settings)
    scenarios = _with_iid(frozenset(errors))
    several = len({dataset for dataset, _ in scenarios}) > 1
    changes: dict[str, _Change] = {}
    for dataset, scenario in scenarios:
        change = _change_against_iid(errors, rows, dataset, scenario)
        if change.values:
            changes[f"{scenario} ({dataset})" if several else scenario] = change
    tests = {name: t_test(change.values) for name, change in changes.items()}
    adjusted = holm_over_tests(tests, len(_with_iid(plan.federated)))
    effects = [
        Effect(
            what=f"{name} against iid",
            size=over_seeds(change.values),
            threshold=MARGIN,
            p_adjusted=adjusted[name],
            n_settings=change.n_settings,
            rows=change.rows,
        )
        for name, change in changes.items()
    ]
    effects.sort(key=lambda effect: -effect.size.value)
    harm = any_shown(effects)
    opposite = {Answer.SUPPORTED: Answer.NOT_SUPPORTED, Answer.NOT_SUPPORTED: Answer.SUPPORTED}
    answer = opposite.get(harm, Answer.CANNOT_SAY)
    return ClaimResult(
        statement="Ownership that is not IID does not hurt federated training.",
        rule="Rise of the federated test MSE against IID at equal partners, model, method and seed, averaged over the "
        f"settings of a scenario under each seed. A rise of {MARGIN_TEXT} or more counts as harm. Supported if "
        f"every scenario's 95 % interval ends below {MARGIN_TEXT}; not supported if some scenario's mean rise "
        "reaches it and is clearly above zero (Holm over all planned scenarios).",
        answer=answer,
        sentence=" ".join(filter(None, (_ownership_sentence(effects, answer), rows_note(effects)))),
        effects=tuple(effects),
    )


def _with_iid(keys: frozenset[CellKey]) -> list[tuple[str, str]]:
    """Data set and scenario of other ownership than IID that has a setting with IID beside it."""
    others = [key for key in keys if key.kind not in _NOT_ANOTHER_OWNERSHIP]
    return sorted({(key.dataset, key.scenario) for key in others if replace(key, scenario="iid") in keys})


def _change_against_iid(errors: Errors, rows: TestedRows, dataset: str, scenario: str) -> _Change:
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
    return _Change(
        values=tuple(
            float(np.mean([errors[key][seed] / errors[twins[key]][seed] - 1.0 for key in kept])) for seed in seeds
        ),
        n_settings=len(kept),
        rows=sameness((rows[key][seed], rows[twins[key]][seed]) for key in kept for seed in seeds),
    )


def _ownership_sentence(effects: Sequence[Effect], answer: Answer) -> str:
    if not effects:
        return "The battery has no scenario beside IID at equal partners, model, method and seed."
    most = _scenario_text(effects[0])
    n = count_text(len(effects), "scenario")
    match answer:
        case Answer.SUPPORTED:
            return (
                f"The largest mean rise of the federated MSE over {n} is {most}, and every interval ends below "
                f"{MARGIN_TEXT}."
                if len(effects) > 1
                else f"The mean rise of the federated MSE is {most}, and its interval ends below {MARGIN_TEXT}."
            )
        case Answer.NOT_SUPPORTED:
            shown = [effect for effect in effects if effect.finding is Finding.SHOWN]
            return (
                f"In {len(shown)} of {n} the mean rise of the federated MSE is {MARGIN_TEXT} or more and clearly above "
                f"zero; the most is {_scenario_text(shown[0])}."
            )
        case Answer.CANNOT_SAY:
            if all(effect.size.half_width is None for effect in effects):
                return f"One seed only, so nothing can be tested; the largest rise of the federated MSE is {most}."
            n_open = sum(effect.finding is Finding.OPEN for effect in effects)
            return (
                f"In no scenario is the mean rise of the federated MSE both {MARGIN_TEXT} or more and clearly above "
                f"zero, but in {n_open} of {n} a rise of {MARGIN_TEXT} cannot be ruled out; the largest mean rise is "
                f"{most}."
            )


def _scenario_text(effect: Effect) -> str:
    return f"{share_text(effect.size)} ({effect.what}, mean over {count_text(effect.n_settings, 'setting')})"
