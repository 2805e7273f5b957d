"""The battery's report in plain sentences and short texts; every number says what it is."""

from collections import Counter
from collections.abc import Sequence

from pharmonia.evaluate.battery import ALTERNATIVES, BASELINES, BatteryArm, CellKey
from pharmonia.evaluate.battery_plan import Plan
from pharmonia.evaluate.battery_rows import RowsTested, Sameness, sameness
from pharmonia.evaluate.battery_scenarios import ScenarioResult, needed_signal
from pharmonia.evaluate.battery_stats import Call, OverSeeds, SettingResult
from pharmonia.evaluate.gain import Undefined
from pharmonia.evaluate.wording import NO_NUMBER, count_text, percent

BATTERY_ARM_MEANING = {
    BatteryArm.ALONE: "each test row predicted by its owner's own model",
    BatteryArm.ENSEMBLE: "mean of the partners' own models",
    BatteryArm.ENSEMBLE_WEIGHTED: "the same, weighted by their errors on validation rows",
    BatteryArm.DISTILLED: "one model taught by the ensemble on public compounds",
    BatteryArm.FEDERATED: "one model trained together, data stays with each partner",
    BatteryArm.POOLED: "all data in one place: the ceiling",
    BatteryArm.BOOSTED: "gradient-boosted trees on fingerprints, all data in one place",
    BatteryArm.ADDITIVE: "compound mean plus target mean, all data in one place",
    BatteryArm.LIGAND_ONLY: "a network that never sees the target, all data in one place",
    BatteryArm.TARGET_ONLY: "a network that never sees the compound, all data in one place",
}
_SHOWN = 4  # settings that a sentence names
_LISTED = 12  # settings that get a sentence each
_MAY_VARY = ("dataset", "protocol", "model", "norm")


def varying_fields(keys: Sequence[CellKey]) -> tuple[str, ...]:
    """Of data set, protocol, model and norm those that differ between the settings."""
    return tuple(name for name in _MAY_VARY if len({getattr(key, name) for key in keys}) > 1)


def fixed_text(keys: Sequence[CellKey]) -> str:
    """What is the same in all settings: ``data set kiba, protocol published, model gin, norm batch``."""
    varying = varying_fields(keys)
    words = {"dataset": "data set"}
    return ", ".join(f"{words.get(n, n)} {getattr(keys[0], n)}" for n in _MAY_VARY if n not in varying)


def setting_name(key: CellKey, varying: Sequence[str]) -> str:
    """A setting in words: ``target, 8 partners, fedavg``, then what else differs between settings."""
    more = "".join(f", {getattr(key, name)}" for name in varying)
    return f"{key.scenario}, {partners_text(key.n_partners)}, {key.method}{more}"


def partners_text(n_partners: int) -> str:
    """``1 partner``, ``8 partners``."""
    return "1 partner" if n_partners == 1 else f"{n_partners} partners"


def seeds_text(n_seeds: int) -> str:
    """``one seed``, ``3 seeds``."""
    return "one seed" if n_seeds == 1 else f"{n_seeds} seeds"


def share_text(mean: OverSeeds | Undefined, *, sign: bool = True) -> str:
    """``+12 % (+7.0 to +16)``, ``+12 % (one seed)``, or a dash."""
    if isinstance(mean, Undefined):
        return NO_NUMBER
    if mean.half_width is None:
        return f"{percent(mean.value, sign=sign)} (one seed)"
    low, high = (percent(value, sign=sign).removesuffix(" %") for value in (mean.low, mean.high))
    return f"{percent(mean.value, sign=sign)} ({low} to {high})"


def mse_text(mean: OverSeeds | None) -> str:
    """A mean MSE with as many digits as a reader can use, or a dash."""
    if mean is None:
        return NO_NUMBER
    return f"{mean.value:.1f}" if mean.value >= 10 else f"{mean.value:.3f}"


def index_text(value: float | None) -> str:
    """A concordance index or correlation, or a dash."""
    return NO_NUMBER if value is None else f"{value:.3f}"


def p_text(p: float | None) -> str:
    """A p-value: ``0.031``, ``< 0.001``, or a dash."""
    if p is None:
        return NO_NUMBER
    return "<\N{NO-BREAK SPACE}0.001" if p < 0.001 else f"{p:.3f}"


def alternatives_text(setting: SettingResult) -> str:
    """The alternatives that its gain is over: ``alone, ensemble``."""
    return ", ".join(setting.alternative_mse) or NO_NUMBER


def unlike_alternatives(settings: Sequence[SettingResult]) -> str:
    """A warning where gains are over other alternatives in one setting than in another; else empty."""
    ran = Counter(alternatives_text(s) for s in settings if not isinstance(s.gain, Undefined))
    if len(ran) < 2:
        return ""
    said = "; ".join(f"{count_text(n, 'setting')} over {names}" for names, n in ran.most_common())
    return f"Gains are over unlike alternatives ({said}); compare them only where the alternatives are the same."


def battery_headline(settings: Sequence[SettingResult]) -> str:
    """The answer in one sentence: how often federating is clearly better, clearly worse, or neither.

    Only settings in which alone and an ensemble ran count: without one of them the best alternative is not known.
    """
    calls = Counter(setting.call for setting in settings if not setting.lacks)
    n_tested = calls.total() - calls[Call.NOT_TESTED]
    if n_tested == 0:
        return (
            "No setting can be judged yet: a test needs gains over alone and an ensemble under two or more seeds that "
            f"are not all the same, and none of {count_text(len(settings), 'setting')} has them."
        )
    better, worse, same = calls[Call.BETTER], calls[Call.WORSE], calls[Call.NO_DIFFERENCE]
    where = f"{better or 'none'} of {count_text(n_tested, 'setting')}"
    start = f"Federating is clearly better than the best alternative in {where}"
    return f"{start}, clearly worse in {worse or 'none'}, and not clearly different in {same or 'none'}."


def headline_note(settings: Sequence[SettingResult], scenarios: Sequence[ScenarioResult], plan: Plan) -> str:
    """What comes out over numbers of partners, what a gain is, how it was tested, and what could not be."""
    calls = Counter(scenario.call for scenario in scenarios if not scenario.lacks)
    n_tested = calls.total() - calls[Call.NOT_TESTED]
    note = (
        "Best alternative: the lowest test MSE of what partners could do without pooling their data "
        f"({', '.join(arm.value for arm in ALTERNATIVES)}, as far as run), chosen anew under each seed. Clearly: "
        "paired over seeds, at a 5 % risk of one or more false calls within each of two families that are corrected "
        "separately (Holm): settings, and means over numbers of partners; so up to 10 % over both. "
        f"{family_text(plan)}"
    ).strip()
    if n_tested:
        note = (
            f"Averaged over numbers of partners, it is clearly better in {calls[Call.BETTER] or 'none'} and clearly "
            f"worse in {calls[Call.WORSE] or 'none'} of {count_text(n_tested, 'pair')} of scenario and method. {note}"
        )
    note = f"{note} {not_counted(settings)}".strip()
    reasons = Counter(setting.untested for setting in settings if setting.untested)
    return f"{note} Not tested: {count_text(reasons.total(), 'setting')} ({_reasons(reasons)})." if reasons else note


def _reasons(reasons: Counter[str]) -> str:
    return "; ".join(f"{reason}: {n:,}" if len(reasons) > 1 else reason for reason, n in reasons.items())


def family_text(plan: Plan) -> str:
    """How many settings and means the correction counts, and how many of the settings are finished."""
    if not plan.compared:
        return ""
    return (
        f"Corrected over {count_text(len(plan.compared), 'planned setting')}, {len(plan.finished) or 'none'} of them "
        f"finished, and over {count_text(len(plan.means), 'planned pair')} of scenario and method."
    )


def not_counted(settings: Sequence[SettingResult]) -> str:
    """The settings whose gain no verdict on the whole counts, as the best alternative did not run, or nothing."""
    reasons = Counter(s.lacks for s in settings if s.lacks and not isinstance(s.gain, Undefined))
    if not reasons:
        return ""
    where = count_text(reasons.total(), "setting")
    return f"The best alternative is not known in {where}, which no verdict counts: {_reasons(reasons)}."


def where_it_does_not_help(settings: Sequence[SettingResult], varying: Sequence[str]) -> tuple[str, ...]:
    """Plain sentences: settings where federating is clearly worse, and those where its mean is no better."""
    worse = sorted((s for s in settings if s.call is Call.WORSE), key=_gain_value)
    sentences = [
        f"Clearly worse: {setting_name(s.key, varying)}: gain {share_text(s.gain)} against "
        f"{s.best_alternative.value if s.best_alternative else 'the best alternative'}."
        for s in worse[:_LISTED]
    ]
    if len(worse) > _LISTED:
        sentences.append(f"Clearly worse in {len(worse) - _LISTED} more settings; see the table below.")
    leaning = [s for s in settings if s.call is not Call.WORSE and _gain_value(s) <= 0]
    if leaning:
        first = sorted(leaning, key=_gain_value)[:_SHOWN]
        names = "; ".join(f"{setting_name(s.key, varying)} {share_text(s.gain)}" for s in first)
        more = f"; and {len(leaning) - _SHOWN} more in the table below" if len(leaning) > _SHOWN else ""
        sentences.append(f"No better on average, though not clearly worse: {names}{more}.")
    if all(isinstance(s.gain, Undefined) for s in settings):
        return (nothing_compared(settings),)
    n_compared = sum(not isinstance(s.gain, Undefined) and not s.lacks for s in settings)
    if n_compared == 0:
        return (*sentences, not_counted(settings))
    where = (
        "In no setting" if n_compared == len(settings) else f"In none of {count_text(n_compared, 'compared setting')}"
    )
    return tuple(sentences) or (f"{where} is its mean gain over the best alternative zero or below.",)


def nothing_compared(settings: Sequence[SettingResult]) -> str:
    """Why there is no gain in any of these settings."""
    reasons = dict.fromkeys(s.gain.reason for s in settings if isinstance(s.gain, Undefined))
    return f"Nothing was compared: {'; '.join(reasons) or 'there is no setting'}."


def baseline_sentences(settings: Sequence[SettingResult], varying: Sequence[str]) -> tuple[str, ...]:
    """For each baseline that ran, in how many settings it beats the federated model, with the worst one named."""
    sentences = []
    for arm in BASELINES:
        both, wins = _against_federated(settings, arm)
        if not both:
            continue
        text = f"{BATTERY_ARM_MEANING[arm]}) has a lower mean test MSE than federated in {len(wins)} of {len(both)}"
        text = f"{arm.value} ({text} {'setting' if len(both) == 1 else 'settings'}"
        if wins:
            setting, base, ours = max(wins, key=lambda win: win[2] - win[1])
            name = setting_name(setting.key, varying)
            text += f", by most in {name}: {base:.3f} against {ours:.3f} federated"
        sentences.append(f"{text}.")
    return tuple(sentences)


def better_baselines(settings: Sequence[SettingResult]) -> str:
    """One plain sentence per baseline that beats the federated model anywhere; empty where none does."""
    sentences = []
    for arm in BASELINES:
        both, wins = _against_federated(settings, arm)
        if wins:
            where = f"{len(wins)} of {count_text(len(both), 'setting')}"
            sentences.append(
                f"{arm.value.capitalize()}, fitted to all rows in one place, has a lower MSE than federated in {where}."
            )
    return " ".join(sentences)


_Pair = tuple[SettingResult, float, float]  # a setting, a baseline's mean test MSE and the federated model's


def _against_federated(settings: Sequence[SettingResult], arm: BatteryArm) -> tuple[list[_Pair], list[_Pair]]:
    """The settings in which a baseline and the federated model both ran, and those in which the baseline wins."""
    pairs = [(s, s.mean_of(arm), s.mean_of(BatteryArm.FEDERATED)) for s in settings]
    both = [(s, base.mse.value, ours.mse.value) for s, base, ours in pairs if base is not None and ours is not None]
    return both, [(s, base, ours) for s, base, ours in both if base < ours]


def _gain_value(setting: SettingResult) -> float:
    return float("inf") if isinstance(setting.gain, Undefined) else setting.gain.value


def battery_limits(settings: Sequence[SettingResult], plan: Plan) -> tuple[str, ...]:
    """What the battery does not show."""
    n_seeds = max(len(setting.seeds) for setting in settings)
    n_tests = len(plan.compared)
    power = []
    if any(setting.p is not None for setting in settings):
        power.append(
            f"With {seeds_text(n_seeds)} and {count_text(n_tests, 'planned setting')}, the first gain of a single "
            f"setting to be called clear must be {needed_signal(n_tests, n_seeds):.1f} times its standard deviation "
            f"over seeds; with {n_seeds + 2} seeds, {needed_signal(n_tests, n_seeds + 2):.1f} times."
        )
    return (
        *power,
        f"Intervals and tests are over {seeds_text(n_seeds)}: they tell how much sharing out and training again "
        "would change the figures, not how much other test rows, compounds or targets would.",
        "Student's t with few seeds assumes nearly normal differences and gives wide intervals. No clear difference is "
        "not the same as no difference.",
        "The best alternative is the lowest of several test errors under each seed, which favours the alternative.",
        "The largest of many gains is an optimistic guess of what one would see again.",
        "Partners are shares of one data set. Real partners differ more, in assays and in chemistry.",
        "Distillation and ensembles have the partners exchange models or predictions; what that reveals is not judged "
        "here.",
        "Seconds are of what ran each run, with all its parties on one machine; bytes are those of the messages, "
        "without what a network adds.",
    )


def rows_sentence(settings: Sequence[SettingResult]) -> str:
    """Whether settings of one data set and protocol are tested on the same rows under a seed; empty if none compare."""
    rows: dict[tuple[str, str, int], list[RowsTested]] = {}
    for setting in settings:
        for seed, tested_on in zip(setting.seeds, setting.tested_on, strict=True):
            rows.setdefault((setting.key.dataset, setting.key.protocol, seed), []).append(tested_on)
    if all(len(cells) == 1 for cells in rows.values()):
        return ""
    match sameness(rows.values()):
        case Sameness.SAME:
            return "Settings of one data set and protocol are tested on the same rows under each seed."
        case Sameness.UNKNOWN:
            return (
                "Settings of one data set and protocol are tested on as many rows; whether on the same is not noted in "
                "these results. Within a setting, all arms share their rows."
            )
        case Sameness.DIFFERENT:
            unlike = {where[:2]: None for where, cells in rows.items() if sameness([cells]) is Sameness.DIFFERENT}
            names = ", ".join(f"{dataset} {protocol}" for dataset, protocol in unlike)
            return (
                f"Settings of {names} are tested on different rows under the same seed, so claims that compare one "
                "setting with another compare means, not paired by row. Within a setting, all arms share their rows."
            )
