"""The report of a battery: settings, claims and how it was run, built by one pure function."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pharmonia.base.errors import MetricError
from pharmonia.evaluate.battery import BatteryArm, CellKey, CellOutcome
from pharmonia.evaluate.battery_claims import judge_claims
from pharmonia.evaluate.battery_effects import ClaimResult
from pharmonia.evaluate.battery_plan import Plan, plan_of
from pharmonia.evaluate.battery_ranks import MethodRank, rank_methods
from pharmonia.evaluate.battery_scenarios import ScenarioResult, gains_by_scenario
from pharmonia.evaluate.battery_stats import Call, SettingResult, summarise

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatteryDataset:
    """What a reader must know of a data set of the battery."""

    name: str  # as in the keys of its cells
    measure: str  # what is predicted, with its unit: "KIBA score", "pKd"
    licence: str
    citation: str  # empty where there is nothing to cite: one's own data

    def __post_init__(self) -> None:
        """Refuse missing texts."""
        if not all(text.strip() for text in (self.name, self.measure, self.licence)):
            raise MetricError(f"a data set needs name, measure and licence, got {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How long a method, or an arm that is not federated, may train."""

    name: str  # of the method as in its cells' keys, or of the arm
    rounds: int  # at most
    local_epochs: int  # in each round
    patience: int  # rounds without a better validation error before it stops

    def __post_init__(self) -> None:
        """Refuse an empty name and counts below one."""
        if not self.name.strip() or min(self.rounds, self.local_epochs, self.patience) < 1:
            raise MetricError(f"a budget needs a name and counts of at least 1, got {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """A cell without an outcome, and why."""

    key: CellKey
    seed: int
    reason: str  # "not started", "failed: ..."

    def __post_init__(self) -> None:
        """Refuse an empty reason."""
        if not self.reason.strip():
            raise MetricError("an unfinished cell needs a reason")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatteryDescription:
    """How a battery was run: all that a reader needs to judge and to repeat it."""

    battery: str
    datasets: tuple[BatteryDataset, ...]
    budgets: tuple[Budget, ...]
    unfinished: tuple[Unfinished, ...]
    notes: tuple[str, ...]  # what else a reader must know, one sentence each
    command: str
    version: str  # of pharmonia
    machine: str
    date: str  # passed in; nothing here reads the clock
    digests: tuple[tuple[str, str], ...]  # (name, SHA-256 in 64 hexadecimal digits)

    def __post_init__(self) -> None:
        """Refuse missing names, repeated data sets or budgets, and digests that are none."""
        for name in ("battery", "command", "version", "machine", "date"):
            if not getattr(self, name).strip():
                raise MetricError(f"the battery's {name} must not be empty")
        for what, names in (
            ("data set", [dataset.name for dataset in self.datasets]),
            ("budget", [budget.name for budget in self.budgets]),
        ):
            if len(set(names)) != len(names):
                raise MetricError(f"each {what} may be described once, got {names}")
        for name, digest in self.digests:
            if not _SHA256.fullmatch(digest):
                raise MetricError(f"digest of {name} must be 64 hexadecimal digits, got {digest!r}")

    def measure_of(self, dataset: str) -> str:
        """What is predicted on a data set, with its unit.

        Raises:
            MetricError: The data set is not described.
        """
        for known in self.datasets:
            if known.name == dataset:
                return known.measure
        raise MetricError(f"data set {dataset} is not described, only {[known.name for known in self.datasets]}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BatteryReport:
    """What a battery found, ready to be written or drawn."""

    description: BatteryDescription
    settings: tuple[SettingResult, ...]  # in reading order
    scenarios: tuple[ScenarioResult, ...]  # in reading order
    claims: tuple[ClaimResult, ...]
    ranks: tuple[MethodRank, ...]  # best first
    plan: Plan
    n_cells: int  # finished

    def n_settings_that(self, call: Call) -> int:
        """Settings with this verdict, of those in which alone and an ensemble ran."""
        return sum(setting.call is call and not setting.lacks for setting in self.settings)

    @property
    def keys(self) -> tuple[CellKey, ...]:
        """Of all settings."""
        return tuple(setting.key for setting in self.settings)

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds that any setting ran."""
        return tuple(sorted({seed for setting in self.settings for seed in setting.seeds}))

    @property
    def arms(self) -> tuple[BatteryArm, ...]:
        """Those that ran in any setting, in order."""
        ran = {score.arm for setting in self.settings for score in setting.scores}
        return tuple(arm for arm in BatteryArm if arm in ran)

    def blocks(self) -> tuple[tuple[SettingResult, ...], ...]:
        """Settings of one data set, protocol, model and norm together, in reading order."""
        found: dict[tuple[str, ...], list[SettingResult]] = {}
        for s in self.settings:
            found.setdefault((s.key.dataset, s.key.protocol, s.key.model, s.key.norm), []).append(s)
        return tuple(tuple(block) for block in found.values())


def build_battery_report(outcomes: Sequence[CellOutcome], description: BatteryDescription) -> BatteryReport:
    """Gains, verdicts and claims from the outcomes of a battery, finished or not.

    Raises:
        MetricError: No outcome, a cell that appears twice, that is also said to be unfinished, or whose data set
            is not described.
    """
    if not outcomes:
        raise MetricError("no cell of the battery is finished, so there is nothing to report")
    for dataset in sorted({outcome.key.dataset for outcome in outcomes}):
        description.measure_of(dataset)
    finished = {(outcome.key, outcome.seed) for outcome in outcomes}
    for cell in description.unfinished:
        if (cell.key, cell.seed) in finished:
            raise MetricError(f"{cell.key}, seed {cell.seed} has an outcome and is said to be unfinished")
    plan = plan_of(outcomes, [(cell.key, cell.seed) for cell in description.unfinished])
    settings = summarise(outcomes, plan)
    return BatteryReport(
        description=description,
        settings=settings,
        scenarios=gains_by_scenario(settings, plan),
        claims=judge_claims(settings, plan),
        ranks=rank_methods(settings),
        plan=plan,
        n_cells=len(outcomes),
    )
