"""The battery's report as tables of text, the same for Markdown and HTML."""

from collections.abc import Sequence

import numpy as np

from pharmonia.evaluate.battery import TRAINED_BESIDE, BatteryArm
from pharmonia.evaluate.battery_effects import ClaimResult
from pharmonia.evaluate.battery_report import BatteryDataset, BatteryReport
from pharmonia.evaluate.battery_stats import SettingResult
from pharmonia.evaluate.battery_wording import (
    index_text,
    mse_text,
    p_text,
    setting_name,
    share_text,
    varying_fields,
)
from pharmonia.evaluate.gain import Undefined
from pharmonia.evaluate.report_text import Rows
from pharmonia.evaluate.wording import NO_NUMBER, data_size, percent, seconds


def effect_table(claim: ClaimResult) -> Rows:
    """Header, then one line per number that a claim rests on."""
    header = ("what", "size (95 % interval)", "threshold", "p", "settings", "seeds", "test rows", "finding")
    return [
        header,
        *(
            (
                effect.what,
                share_text(effect.size),
                f"{100 * effect.threshold:g} %",
                p_text(effect.p_adjusted),
                str(effect.n_settings),
                str(effect.size.n_seeds),
                effect.rows.value,
                effect.finding.value,
            )
            for effect in claim.effects
        ),
    ]


def scenario_table(report: BatteryReport) -> Rows:
    """Header, then one line per scenario and method: mean gain over numbers of partners, verdict."""
    varying = varying_fields(report.keys)
    header = ("scenario", "method", *_headers(varying), "partners", "seeds")
    lines = [
        (
            result.key.scenario,
            result.key.method,
            *(getattr(result.key, name) for name in varying),
            ", ".join(map(str, result.n_partners)),
            str(result.gain.n_seeds),
            share_text(result.gain),
            p_text(result.p_adjusted),
            result.call.value,
        )
        for result in report.scenarios
    ]
    return [(*header, "gain over best alternative", "p (Holm)", "verdict"), *lines]


def setting_table(report: BatteryReport, settings: Sequence[SettingResult]) -> Rows:
    """Header, then one line per setting: mean test MSE of every arm, gain, verdict."""
    varying = varying_fields(report.keys)
    arms = [arm for arm in report.arms if any(setting.mean_of(arm) for setting in settings)]
    header = ("scenario", "partners", "method", *_headers(varying), "seeds")
    tail = ("gain over best alternative", "way to pooled", "p (Holm)", "verdict")
    lines = [
        (
            setting.key.scenario,
            str(setting.key.n_partners),
            setting.key.method,
            *(getattr(setting.key, name) for name in varying),
            str(len(setting.seeds)),
            *(_mse(setting, arm) for arm in arms),
            share_text(setting.gain),
            way_text(setting.gap_closed),
            p_text(setting.p_adjusted),
            setting.call.value,
        )
        for setting in settings
    ]
    return [(*header, *(f"MSE {arm.value}" for arm in arms), *tail), *lines]


def _headers(varying: Sequence[str]) -> tuple[str, ...]:
    return tuple("data set" if name == "dataset" else name for name in varying)


def _mse(setting: SettingResult, arm: BatteryArm) -> str:
    mean = setting.mean_of(arm)
    return mse_text(mean.mse if mean else None)


def way_text(gap_closed: float | Undefined) -> str:
    """How much of the way from the best alternative to pooled: ``76 %``, or a dash."""
    return NO_NUMBER if isinstance(gap_closed, Undefined) else percent(gap_closed)


def index_table(report: BatteryReport, settings: Sequence[SettingResult]) -> Rows:
    """Header, then one line per setting: mean concordance index of every arm."""
    varying = varying_fields(report.keys)
    arms = [arm for arm in report.arms if any(setting.mean_of(arm) for setting in settings)]
    lines = [
        (
            setting_name(setting.key, varying),
            *(index_text(mean.ci if mean else None) for mean in map(setting.mean_of, arms)),
        )
        for setting in settings
    ]
    return [("setting", *(arm.value for arm in arms)), *lines]


def rank_table(report: BatteryReport) -> Rows:
    """Header, then one line per method, best first."""
    header = ("method", "mean rank", "first in", "settings compared", "mean gain", "clearly better", "clearly worse")
    return [
        header,
        *(
            (
                rank.method,
                f"{rank.mean_rank:.2f}" if rank.n_settings else NO_NUMBER,
                f"{rank.n_first} of {rank.n_settings}",
                str(rank.n_settings),
                NO_NUMBER if isinstance(rank.mean_gain, Undefined) else percent(rank.mean_gain, sign=True),
                f"{rank.n_better} of {rank.n_tested}",
                f"{rank.n_worse} of {rank.n_tested}",
            )
            for rank in report.ranks
        ),
    ]


CostGroups = dict[tuple[str, ...], dict[int, list[SettingResult]]]


def cost_fields(report: BatteryReport) -> tuple[str, ...]:
    """Of data set, model and norm, on which a cost depends, those that differ between federated settings."""
    keys = [setting.key for setting in report.settings if setting.federated_mse]
    return tuple(name for name in varying_fields(keys) if name != "protocol")


def cost_groups(report: BatteryReport) -> CostGroups:
    """Federated settings whose costs compare: by method and `cost_fields`, in it by number of partners."""
    fields, groups = cost_fields(report), CostGroups()
    for setting in report.settings:
        if setting.federated_mse:
            name = (setting.key.method, *(getattr(setting.key, field) for field in fields))
            groups.setdefault(name, {}).setdefault(setting.key.n_partners, []).append(setting)
    return {name: dict(sorted(groups[name].items())) for name in sorted(groups)}


def cost_table(report: BatteryReport) -> Rows:
    """Header, then one line per group of `cost_groups` and number of partners: means over settings and seeds."""
    groups = cost_groups(report)
    settings = [s for by_count in groups.values() for group in by_count.values() for s in group]
    beside = [arm for arm in TRAINED_BESIDE if any(arm in s.cost.cpu_s_beside for s in settings)]
    header = ("method", *_headers(cost_fields(report)), "partners", "rounds", "to partners", "from partners")
    times = ("processor time", "wall time", *(f"processor time {arm.value}" for arm in beside))
    return [
        (*header, *times, "largest relative sum error"),
        *(
            (*name, str(n_partners), *_cost_cells(group, beside))
            for name, by_count in groups.items()
            for n_partners, group in by_count.items()
        ),
    ]


def _cost_cells(group: Sequence[SettingResult], beside: Sequence[BatteryArm]) -> tuple[str, ...]:
    costs = [setting.cost for setting in group]
    errors = [cost.sum_error for cost in costs if cost.sum_error is not None]
    others = [[cost.cpu_s_beside[arm] for cost in costs if arm in cost.cpu_s_beside] for arm in beside]
    return (
        f"{np.mean([cost.rounds_run for cost in costs]):.0f}",
        data_size(round(np.mean([cost.bytes_to_partners for cost in costs]))),
        data_size(round(np.mean([cost.bytes_from_partners for cost in costs]))),
        seconds(float(np.mean([cost.cpu_s for cost in costs]))),
        seconds(float(np.mean([cost.wall_s for cost in costs]))),
        *(seconds(float(np.mean(amounts))) if amounts else NO_NUMBER for amounts in others),
        f"{max(errors):.1e}" if errors else "plain sums",
    )


def unfinished_table(report: BatteryReport) -> Rows:
    """Header, then one line per setting and reason, with its seeds."""
    varying = varying_fields((*report.keys, *(cell.key for cell in report.description.unfinished)))
    groups: dict[tuple[str, str], list[int]] = {}
    for cell in report.description.unfinished:
        groups.setdefault((setting_name(cell.key, varying), cell.reason), []).append(cell.seed)
    lines = [(name, ", ".join(map(str, sorted(seeds))), reason) for (name, reason), seeds in groups.items()]
    return [("setting", "seeds", "why"), *lines]


def budget_table(report: BatteryReport) -> Rows:
    """Header, then one line per method or arm: how long it may train."""
    header = ("method or arm", "rounds at most", "local epochs a round", "stops after rounds without a better one")
    return [
        header,
        *((b.name, str(b.rounds), str(b.local_epochs), str(b.patience)) for b in report.description.budgets),
    ]


def how_it_was_run(report: BatteryReport) -> tuple[tuple[str, str], ...]:
    """(heading, text) pairs that a reader needs to judge and to repeat the battery."""
    d = report.description
    n_left = len(d.unfinished)
    rows = sorted({tested_on.n_rows for setting in report.settings for tested_on in setting.tested_on})
    test_rows = f"{rows[0]:,}" if len(rows) == 1 else f"{rows[0]:,} to {rows[-1]:,}"
    return (
        ("Battery", f"{d.battery}: {report.n_cells:,} cells finished, {n_left:,} not."),
        (
            "Seeds",
            f"{', '.join(map(str, report.seeds))}; figures are means over a setting's seeds, intervals are Student's t "
            "over seeds, 95 %.",
        ),
        ("Test rows", f"{test_rows} in a cell; within a cell every arm predicts the same rows."),
        *((f"Data: {data.name}", _about(data)) for data in d.datasets),
        ("Command", d.command),
        ("Made with", f"pharmonia {d.version}, {d.date}, on {d.machine}"),
        *((f"SHA-256 of {name}", digest) for name, digest in d.digests),
    )


def _about(data: BatteryDataset) -> str:
    return " ".join(f"{text}." for text in (data.measure, data.citation, f"Licence: {data.licence}") if text)


def mse_unit(report: BatteryReport, settings: Sequence[SettingResult]) -> str:
    """``(KIBA score)²``, or one per data set."""
    names = dict.fromkeys(setting.key.dataset for setting in settings)
    measures = {name: report.description.measure_of(name) for name in names}
    if len(set(measures.values())) == 1:
        return f"({next(iter(measures.values()))})²"
    return ", ".join(f"({measure})² for {name}" for name, measure in measures.items())


def by_kind(settings: Sequence[SettingResult]) -> dict[str, list[SettingResult]]:
    """Settings by kind of scenario, in reading order."""
    kinds: dict[str, list[SettingResult]] = {}
    for setting in settings:
        kinds.setdefault(setting.key.kind, []).append(setting)
    return kinds
