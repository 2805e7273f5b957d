"""Gain per scenario and method: means over the numbers of partners under each seed, then paired over seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from pharmonia.evaluate.battery import CellKey
from pharmonia.evaluate.battery_plan import Plan
from pharmonia.evaluate.battery_stats import (
    ALPHA,
    Call,
    OverSeeds,
    SettingResult,
    call_of,
    holm_over_tests,
    over_seeds,
    t_test,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioResult:
    """The gain of one method in one scenario, averaged over numbers of partners under each seed."""

    key: CellKey  # with the fewest of these partners
    n_partners: tuple[int, ...]  # averaged over
    n_left_out: int  # numbers of partners without every seed
    gain: OverSeeds  # share of the best alternative's MSE
    lacks: str  # as of a setting, of the first of those averaged over that lacks something
    p_adjusted: float | None  # of a gain of zero, by Holm over all planned scenarios and methods; None: not tested

    @property
    def call(self) -> Call:
        """The verdict at a family-wise error of 5 % over scenarios and methods; settings are a family of their own."""
        return call_of(self.gain, self.p_adjusted)


def gains_by_scenario(settings: Sequence[SettingResult], plan: Plan) -> tuple[ScenarioResult, ...]:
    """One result per scenario and method (data set, protocol, model and norm equal) that has a gain.

    Far fewer tests than settings, and less noise in each mean, so that the correction costs less.
    """
    groups: dict[CellKey, list[SettingResult]] = {}
    for setting in settings:
        if setting.seed_gains:
            groups.setdefault(replace(setting.key, n_partners=1), []).append(setting)
    means: dict[CellKey, tuple[list[CellKey], list[float]]] = {}
    for name, group in groups.items():
        gains = {s.key: dict(zip(s.seeds, s.seed_gains, strict=True)) for s in group}
        keys, seeds = balanced({key: frozenset(by_seed) for key, by_seed in gains.items()})
        means[name] = (keys, [float(np.mean([gains[key][seed] for key in keys])) for seed in seeds])
    adjusted = holm_over_tests({name: t_test(values) for name, (_, values) in means.items()}, len(plan.means))
    lacks = {setting.key: setting.lacks for setting in settings}
    return tuple(
        ScenarioResult(
            key=keys[0],
            n_partners=tuple(key.n_partners for key in keys),
            n_left_out=len(groups[name]) - len(keys),
            gain=over_seeds(values),
            lacks=next(filter(None, (lacks[key] for key in keys)), ""),
            p_adjusted=adjusted[name],
        )
        for name, (keys, values) in means.items()
    )


def balanced(seeds_of: Mapping[CellKey, frozenset[int]]) -> tuple[list[CellKey], list[int]]:
    """The settings and seeds to average over, such that every kept setting has every kept seed.

    Otherwise a seed's mean would be over other settings than another's. Of the settings' own sets of seeds, the
    one is kept that leaves the most settings times degrees of freedom; the rest waits until it is finished.
    """
    best: tuple[tuple[int, int], list[CellKey], list[int]] = ((-1, -1), [], [])
    for seeds in sorted(filter(None, set(seeds_of.values())), key=sorted):
        keys = [key for key, own in seeds_of.items() if seeds <= own]
        worth = (len(keys) * (len(seeds) - 1), len(keys))
        if worth > best[0]:
            best = (worth, keys, sorted(seeds))
    return best[1], best[2]


def needed_signal(n_tests: int, n_seeds: int) -> float:
    """How many standard deviations over seeds the first mean to be called clear must reach among so many tests.

    t_{1 - 0.05 / (2 m), S - 1} / sqrt(S) for m tests and S >= 2 seeds: Holm's first step.
    """
    return float(stats.t.isf(ALPHA / (2 * n_tests), n_seeds - 1)) / math.sqrt(n_seeds)
