"""Methods of a battery by rank, over settings that differ in nothing but the method, against the same alternatives."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from pharmonia.evaluate.battery import ALTERNATIVES, BatteryArm, CellKey
from pharmonia.evaluate.battery_stats import Call, SettingResult
from pharmonia.evaluate.gain import Undefined


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodRank:
    """How one method does over settings that differ in nothing but the method."""

    method: str
    n_settings: int  # in which every method of the battery was tried
    mean_rank: float  # by mean federated MSE, 1 is best; ties share the mean of their ranks; NaN without settings
    n_first: int  # settings in which it has the lowest mean MSE
    mean_gain: float | Undefined  # over the best alternative that every method ran, mean over these settings
    n_better: int  # of all its settings, each over all alternatives that ran in it
    n_worse: int
    n_tested: int


def rank_methods(settings: Sequence[SettingResult]) -> tuple[MethodRank, ...]:
    """Methods by mean rank over the settings that all of them finished under the same seeds, best first."""
    methods = sorted({setting.key.method for setting in settings})
    full = _compared(settings)
    ranks = np.array([stats.rankdata([np.mean(s.federated_mse) for s in group]) for group in full])
    gains = [by_method for by_method in map(_gains_over_common, full) if by_method]
    found = []
    for index, method in enumerate(methods):
        own = [setting for setting in settings if setting.key.method == method]
        known = [by_method[index] for by_method in gains]
        found.append(
            MethodRank(
                method=method,
                n_settings=len(full),
                mean_rank=float(ranks[:, index].mean()) if full else math.nan,
                n_first=int((ranks[:, index] == 1.0).sum()) if full else 0,
                mean_gain=float(np.mean(known)) if known else Undefined(reason="no alternative ran with every method"),
                n_better=sum(setting.call is Call.BETTER for setting in own),
                n_worse=sum(setting.call is Call.WORSE for setting in own),
                n_tested=sum(setting.call is not Call.NOT_TESTED for setting in own),
            )
        )
    return tuple(sorted(found, key=lambda rank: (rank.mean_rank if full else 0.0, rank.method)))


def rank_note(settings: Sequence[SettingResult]) -> str:
    """What a rank table's mean gains are over, and what its calls count."""
    calls = "Clear calls count all settings of a method, each over all alternatives that ran in it."
    full = _compared(settings)
    if not full:
        return f"No setting was finished by every method under the same seeds, so methods are not ranked. {calls}"
    common = {_common(group) for group in full}
    if common == {()}:
        return f"No alternative ran with every method in a compared setting, so there is no mean gain. {calls}"
    names = f" ({', '.join(next(iter(common)))})" if len(common) == 1 else ""
    return f"Mean gain: over the best of the alternatives that every method ran in a compared setting{names}. {calls}"


def _compared(settings: Sequence[SettingResult]) -> list[list[SettingResult]]:
    """Per setting that every method finished under the same seeds, the methods' results in order of their names."""
    methods = sorted({setting.key.method for setting in settings})
    groups: dict[tuple[CellKey, tuple[int, ...]], dict[str, SettingResult]] = {}
    for setting in settings:
        if setting.federated_mse:
            same = replace(setting.key, method="any")
            groups.setdefault((same, setting.seeds), {})[setting.key.method] = setting
    return [[group[method] for method in methods] for group in groups.values() if len(group) == len(methods)]


def _common(group: Sequence[SettingResult]) -> tuple[BatteryArm, ...]:
    """The alternatives that ran in all of these settings under every seed."""
    return tuple(arm for arm in ALTERNATIVES if all(arm in setting.alternative_mse for setting in group))


def _gains_over_common(group: Sequence[SettingResult]) -> list[float]:
    """Each method's mean over seeds of 1 - federated / min(common alternatives); empty where that is no number."""
    common = _common(group)
    if not common:
        return []
    best = [np.min([setting.alternative_mse[arm] for arm in common], axis=0) for setting in group]
    if min(float(errors.min()) for errors in best) == 0.0:
        return []
    return [float(np.mean(1.0 - np.array(s.federated_mse) / errors)) for s, errors in zip(group, best, strict=True)]
