"""What a battery of benchmarks hands to its evaluation: one outcome per cell, every arm on the same test rows."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

import numpy as np

from pharmonia.base.arrays import Vector, frozen_copy
from pharmonia.base.errors import MetricError
from pharmonia.evaluate.metrics import Metric, Scores

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHORT_DIGEST = re.compile(r"[0-9a-f]{16}")
_RANGES = {
    Metric.MSE: (0.0, math.inf),
    Metric.CI: (0.0, 1.0),
    Metric.PEARSON: (-1.0, 1.0),
    Metric.R2M: (-math.inf, 1.0),
}


class BatteryArm(StrEnum):
    """One way to get a model, in the order in which it is reported."""

    ALONE = "alone"  # each test row predicted by its owner's own model
    ENSEMBLE = "ensemble"  # mean of the alone models' predictions
    ENSEMBLE_WEIGHTED = "ensemble-weighted"  # the same, weighted by their errors on validation rows
    DISTILLED = "distilled"  # one model taught by the ensemble on public compounds
    FEDERATED = "federated"  # one model, trained without pooling rows
    POOLED = "pooled"  # all rows in one place: the ceiling
    BOOSTED = "boosted"  # gradient-boosted trees on fingerprints, all rows in one place
    ADDITIVE = "additive"  # compound mean plus target mean, all rows in one place
    LIGAND_ONLY = "ligand-only"  # a network that never sees the target, all rows in one place
    TARGET_ONLY = "target-only"  # a network that never sees the compound, all rows in one place

    @property
    def column(self) -> str:
        """Its name at the end of a column of results.csv."""
        return self.value.replace("-", "_")


ALTERNATIVES = (BatteryArm.ALONE, BatteryArm.ENSEMBLE, BatteryArm.ENSEMBLE_WEIGHTED, BatteryArm.DISTILLED)
ENSEMBLES = (BatteryArm.ENSEMBLE, BatteryArm.ENSEMBLE_WEIGHTED)
BASELINES = (BatteryArm.BOOSTED, BatteryArm.ADDITIVE, BatteryArm.LIGAND_ONLY, BatteryArm.TARGET_ONLY)
TRAINED_BESIDE = (  # arms with training rounds of their own beside the federated one's
    BatteryArm.ALONE,
    BatteryArm.DISTILLED,
    BatteryArm.POOLED,
    BatteryArm.LIGAND_ONLY,
    BatteryArm.TARGET_ONLY,
)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class CellKey:
    """A *setting*: everything about a cell but its seed. Names as a battery file writes them."""

    dataset: str
    scenario: str  # who owns what: "iid", "target", "diffused-target:0.1", "weak:0.3"
    protocol: str  # what is tested on: "random", "cold-target"
    n_partners: int
    model: str
    norm: str
    method: str  # "fedavg"

    def __post_init__(self) -> None:
        """Refuse names that are empty, padded or not printable, and fewer than one partner."""
        for name in ("dataset", "scenario", "protocol", "model", "norm", "method"):
            value = getattr(self, name)
            if not value or value != value.strip() or not value.isprintable():
                raise MetricError(f"{name} must be printable text without spaces around it, got {value!r}")
        if self.n_partners < 1:
            raise MetricError(f"n_partners must be at least 1, got {self.n_partners}")

    @property
    def kind(self) -> str:
        """The scenario without its parameter."""
        return self.scenario.partition(":")[0]

    @property
    def parameter(self) -> float:
        """The number after the scenario's colon; NaN where there is none."""
        try:
            return float(self.scenario.partition(":")[2])
        except ValueError:
            return math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmScore:
    """One arm's metrics on a cell's test rows; None where the rows do not define one."""

    arm: BatteryArm
    mse: float  # squared unit of the measured value
    ci: float | None  # concordance index, 0 to 1
    pearson: float | None  # -1 to 1
    r2m: float | None  # at most 1

    def __post_init__(self) -> None:
        """Refuse values out of their range or not finite."""
        for metric, (low, high) in _RANGES.items():
            value = self.of(metric)
            if value is None and metric is not Metric.MSE:
                continue
            if value is None or not math.isfinite(value) or not low <= value <= high:
                name = metric_column(metric, self.arm)
                raise MetricError(f"{name} must be a finite number from {low:g} to {high:g}, got {value}")

    def of(self, metric: Metric) -> float | None:
        """The value of one metric."""
        value: float | None = getattr(self, metric.value)
        return value


def metric_column(metric: Metric, arm: BatteryArm) -> str:
    """The column of results.csv that holds this metric of this arm: ``mse_ensemble_weighted``."""
    return f"{metric.value}_{arm.column}"


def arm_score(arm: BatteryArm, scores: Scores) -> ArmScore:
    """The scores of one arm as a cell keeps them."""
    ci, pearson, r2m = (None if math.isnan(value) else value for value in (scores.ci, scores.pearson, scores.r2m))
    return ArmScore(arm=arm, mse=scores.mse, ci=ci, pearson=pearson, r2m=r2m)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CellOutcome:
    """What one setting brought under one seed; costs are those of the federated arm, all parties together."""

    key: CellKey
    seed: int
    n_test: int  # rows; the same rows for every arm
    test_rows_digest: str | None  # of which rows of the data set they are, 16 hexadecimal digits; None: not noted
    scores: tuple[ArmScore, ...]  # one per arm that ran
    rounds_run: int  # 0 where no federated arm ran
    n_params: int
    bytes_to_partners: int
    bytes_from_partners: int
    cpu_s: float
    wall_s: float
    cpu_s_beside: Mapping[BatteryArm, float]  # what other arms' own runs took, of `TRAINED_BESIDE`, as far as noted
    sum_error: float | None  # largest relative difference of a secure sum from the float64 sum; None: plain sums
    curve: Vector  # (rounds_run,) float64: validation MSE after each round, counted from 0
    settings_digest: str  # SHA-256 of all that changes the result, 64 hexadecimal digits

    def __post_init__(self) -> None:
        """Refuse no or repeated arms, negative amounts, and a curve of another length."""
        arms = [score.arm for score in self.scores]
        if not arms or len(set(arms)) != len(arms):
            raise MetricError(f"scores must hold each arm at most once and at least one, got {arms}")
        if self.seed < 0 or self.n_test < 2:
            raise MetricError(f"seed must be at least 0 and n_test at least 2, got {self.seed} and {self.n_test}")
        for name in ("rounds_run", "n_params", "bytes_to_partners", "bytes_from_partners", "cpu_s", "wall_s"):
            amount = getattr(self, name)
            if not math.isfinite(amount) or amount < 0:
                raise MetricError(f"{name} must be finite and not negative, got {amount}")
        if self.sum_error is not None and not 0 <= self.sum_error < math.inf:
            raise MetricError(f"sum_error must be finite and not negative, got {self.sum_error}")
        if not _SHA256.fullmatch(self.settings_digest):
            raise MetricError(f"settings_digest must be 64 hexadecimal digits, got {self.settings_digest!r}")
        if self.test_rows_digest is not None and not _SHORT_DIGEST.fullmatch(self.test_rows_digest):
            raise MetricError(f"test_rows_digest must be 16 hexadecimal digits, got {self.test_rows_digest!r}")
        self._keep_costs()
        curve = frozen_copy(np.asarray(self.curve, dtype=np.float64))
        if curve.shape != (self.rounds_run,):
            raise MetricError(f"curve must have one value for each of {self.rounds_run} rounds, got {curve.shape}")
        if not np.isfinite(curve).all() or (curve < 0).any():
            raise MetricError("curve must be finite and not negative")
        object.__setattr__(self, "curve", curve)

    def _keep_costs(self) -> None:
        """Keep a copy of the other arms' seconds, or refuse them."""
        for arm, amount in self.cpu_s_beside.items():
            if arm not in TRAINED_BESIDE or not math.isfinite(amount) or amount < 0:
                raise MetricError(
                    f"cpu_s_{arm.column} must be finite, not negative and of an arm that trains, got {amount}"
                )
        object.__setattr__(self, "cpu_s_beside", MappingProxyType(dict(self.cpu_s_beside)))

    def mse_of(self, arm: BatteryArm) -> float:
        """The arm's MSE; NaN where it did not run."""
        return next((score.mse for score in self.scores if score.arm is arm), math.nan)
