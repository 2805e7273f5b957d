"""What a comparison hands to its evaluation: predictions, holdings, curves, costs and how it was run."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import Vector, frozen_copy
from pharmonia.base.errors import MetricError

NO_AGREEMENT = "no agreement: simulation"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_PARTNERS = np.iinfo(np.int16).max


class Arm(StrEnum):
    """One way for the partners to get a model."""

    ALONE = "alone"  # each partner trains on its own rows
    ENSEMBLE = "ensemble"  # mean of the alone models' predictions
    FEDERATED = "federated"  # one model, trained without pooling rows
    POOLED = "pooled"  # all rows in one place: the ceiling


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What one partner owns."""

    partner: str
    n_train: int  # rows
    n_valid: int  # rows
    n_test: int  # rows
    n_compounds: int  # different compounds over all its rows
    n_targets: int  # different targets over all its rows

    def __post_init__(self) -> None:
        """Refuse an empty name or a negative count."""
        if not self.partner.strip():
            raise MetricError("a partner needs a name")
        counts = (self.n_train, self.n_valid, self.n_test, self.n_compounds, self.n_targets)
        if min(counts) < 0:
            raise MetricError(f"{self.partner}: counts must not be negative, got {counts}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Holdings:
    """What every partner owns, and what each two of them have in common."""

    partners: tuple[Holding, ...]
    shared_compounds: npt.NDArray[np.int64]  # (n_partners, n_partners); the diagonal is n_compounds
    shared_targets: npt.NDArray[np.int64]  # (n_partners, n_partners); the diagonal is n_targets

    def __post_init__(self) -> None:
        """Refuse matrices of another size, not symmetric, or whose diagonal contradicts the counts."""
        for name, own in (("shared_compounds", "n_compounds"), ("shared_targets", "n_targets")):
            matrix = frozen_copy(np.asarray(getattr(self, name), dtype=np.int64))
            counts = np.array([getattr(holding, own) for holding in self.partners], dtype=np.int64)
            if matrix.shape != (counts.size, counts.size):
                raise MetricError(f"{name} must be {counts.size} x {counts.size}, got {matrix.shape}")
            if not np.array_equal(matrix, matrix.T):
                raise MetricError(f"{name} must be symmetric")
            if not np.array_equal(matrix.diagonal(), counts):
                raise MetricError(f"the diagonal of {name} must equal each partner's {own}")
            object.__setattr__(self, name, matrix)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """Validation error of one arm after each round, of one partner or of all together."""

    arm: Arm
    partner: str | None  # None: mean over partners weighted by validation rows
    valid_mse: Vector  # (n_rounds,) float64; entry i was measured after round i, counted from 0
    best_round: int  # counted from 0; the round whose model was kept

    def __post_init__(self) -> None:
        """Refuse no rounds, values that are not finite, or a best round outside the curve."""
        curve = frozen_copy(np.asarray(self.valid_mse, dtype=np.float64))
        if curve.ndim != 1 or curve.size == 0:
            raise MetricError(f"valid_mse must be (n_rounds,) with at least one round, got {curve.shape}")
        if not np.isfinite(curve).all() or curve.min() < 0:
            raise MetricError(f"valid_mse of {self.arm} must be finite and not negative")
        if not 0 <= self.best_round < curve.size:
            raise MetricError(f"best_round must be in 0..{curve.size - 1}, got {self.best_round}")
        object.__setattr__(self, "valid_mse", curve)

    def extended(self, n_rounds: int) -> Vector:
        """(n_rounds,) float64: after the last round the best error stays, as the best model is kept."""
        n_more = n_rounds - self.valid_mse.size
        return np.concatenate([self.valid_mse, np.full(n_more, self.valid_mse[self.best_round])])


def mean_curve(curves: Sequence[Curve], n_valid: Sequence[int]) -> Curve:
    """Mean of the partners' curves of one arm, weighted by their validation rows.

    A partner that stopped early keeps its best error from then on, because it keeps its best model.

    Args:
        curves: At least one, all of the same arm.
        n_valid: Validation rows of each curve's partner; not all zero.

    Raises:
        MetricError: No curves, curves of several arms, or weights that do not fit.
    """
    arms = {curve.arm for curve in curves}
    if len(arms) != 1 or len(n_valid) != len(curves) or min(n_valid) < 0 or sum(n_valid) == 0:
        raise MetricError(f"expected curves of one arm with their row counts, got {sorted(arms)} and {n_valid}")
    n_rounds = max(curve.valid_mse.size for curve in curves)
    rows = [curve.extended(n_rounds) for curve in curves]
    mean = np.average(rows, axis=0, weights=np.asarray(n_valid, dtype=np.float64))
    return Curve(arm=arms.pop(), partner=None, valid_mse=mean, best_round=int(mean.argmin()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one arm took in time and traffic, and how exact its sums were; of all partners together."""

    arm: Arm
    n_rounds: int
    wall_s: float
    cpu_s: float
    bytes_to_partners: int
    bytes_from_partners: int
    n_clipped: int = 0  # elements of secure sums that no scale could hold
    sum_error: float | None = None  # largest difference from the float64 sum, as a share of its tensor's largest value

    def __post_init__(self) -> None:
        """Refuse negative or infinite amounts."""
        traffic = (self.bytes_to_partners, self.bytes_from_partners)
        amounts = (self.n_rounds, self.wall_s, self.cpu_s, *traffic, self.n_clipped, self.sum_error or 0.0)
        if not np.isfinite(amounts).all() or min(amounts) < 0:
            raise MetricError(f"cost of {self.arm} must be finite and not negative, got {amounts}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeedOutcome:
    """Everything that the four arms predicted and took under one seed, on the same test rows.

    The *ensemble* is derived: what the partners can do without federating is to average their models.
    """

    seed: int
    partners: tuple[str, ...]
    test_rows: npt.NDArray[np.int64]  # (n_test,) each test row's index in the data set, all different
    measured: Vector  # (n_test,) float64
    owner: npt.NDArray[np.int16]  # (n_test,) index into partners
    alone: npt.NDArray[np.float64]  # (n_partners, n_test) what each partner's own model predicts
    pooled: Vector  # (n_test,) float64
    federated: Vector  # (n_test,) float64
    holdings: Holdings
    curves: tuple[Curve, ...]
    costs: tuple[Cost, ...]

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together and values that are not finite."""
        self._check_names()
        n_test = np.asarray(self.measured).size
        for name, shape in (
            ("measured", (n_test,)),
            ("alone", (len(self.partners), n_test)),
            ("pooled", (n_test,)),
            ("federated", (n_test,)),
        ):
            array = frozen_copy(np.asarray(getattr(self, name), dtype=np.float64))
            if array.shape != shape:
                raise MetricError(f"seed {self.seed}: {name} must have shape {shape}, got {array.shape}")
            if not np.isfinite(array).all():
                n_bad = int((~np.isfinite(array)).sum())
                raise MetricError(f"seed {self.seed}: {name} holds {n_bad} values that are not finite")
            object.__setattr__(self, name, array)
        self._check_rows(n_test)

    def _check_names(self) -> None:
        names = self.partners
        if not names or len(names) > _MAX_PARTNERS or len(set(names)) != len(names):
            raise MetricError(f"expected 1 to {_MAX_PARTNERS} partners of different names, got {names}")
        if tuple(holding.partner for holding in self.holdings.partners) != names:
            raise MetricError(f"holdings must list the partners in their order {names}")
        keys = [(curve.arm, curve.partner) for curve in self.curves]
        arms = [cost.arm for cost in self.costs]
        if len(set(keys)) != len(keys) or len(set(arms)) != len(arms):
            raise MetricError("at most one curve per arm and partner, and one cost per arm")
        unknown = {partner for _, partner in keys if partner is not None} - set(names)
        if unknown:
            raise MetricError(f"curves of unknown partners {sorted(unknown)}")

    def _check_rows(self, n_test: int) -> None:
        rows = frozen_copy(np.asarray(self.test_rows, dtype=np.int64))
        owner = frozen_copy(np.asarray(self.owner, dtype=np.int16))
        if n_test < 2:
            raise MetricError(f"seed {self.seed}: at least 2 test rows are needed, got {n_test}")
        if rows.shape != (n_test,) or np.unique(rows).size != n_test:
            raise MetricError(f"seed {self.seed}: test_rows must name {n_test} different rows")
        if owner.shape != (n_test,) or owner.min() < 0 or owner.max() >= len(self.partners):
            raise MetricError(f"seed {self.seed}: owner must hold {n_test} indices of partners")
        object.__setattr__(self, "test_rows", rows)
        object.__setattr__(self, "owner", owner)

    @property
    def ensemble(self) -> Vector:
        """(n_test,) float64: mean of the alone models' predictions."""
        return frozen_copy(self.alone.mean(axis=0))

    @property
    def alone_by_owner(self) -> Vector:
        """(n_test,) float64: each row as predicted by its owner's alone model."""
        return frozen_copy(self.alone[self.owner, np.arange(self.owner.size)])


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDescription:
    """How a comparison was run: all that a reader needs to judge and to repeat it."""

    dataset: str  # name in the catalogue, or of the imported file
    measure: str  # what is predicted, with its unit: "KIBA score", "pKd"
    n_rows: int
    n_compounds: int
    n_targets: int
    licence: str
    citation: str
    partition: str  # between partners: "iid", "target", "diffused-target:0.1"
    split: str  # within partners: "published", "random", "cold-target"
    seeds: tuple[int, ...]
    model: str  # "GraphDTA GIN"
    n_params: int
    norm: str
    method: str  # "fedavg"
    aggregation: str  # "secure", "plain"
    n_rounds: int  # at most
    local_epochs: int  # per round
    batch_size: int  # rows
    optimiser: str
    learning_rate: float
    patience: int  # rounds without a better validation error before an arm stops
    version: str  # of pharmonia
    command: str
    date: str  # passed in; nothing here reads the clock
    machine: str
    digests: tuple[tuple[str, str], ...]  # (name, SHA-256 in 64 hexadecimal digits)
    agreement: str = NO_AGREEMENT  # or the digest of the version under which the federated arm ran
    plan: str = ""  # digest of the plan; empty without one
    ledger: str = ""  # root of the ledger after the last round; empty without a plan

    def __post_init__(self) -> None:
        """Refuse missing names, counts below one, repeated seeds and digests that are none."""
        texts = ("dataset", "measure", "partition", "split", "model", "method", "aggregation", "version", "command")
        for name in texts:
            if not getattr(self, name).strip():
                raise MetricError(f"the run's {name} must not be empty")
        for name in ("n_rows", "n_compounds", "n_targets", "n_rounds", "local_epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise MetricError(f"the run's {name} must be at least 1, got {getattr(self, name)}")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise MetricError(f"seeds must be different and at least one, got {self.seeds}")
        for name, digest in self.digests:
            if not _SHA256.fullmatch(digest):
                raise MetricError(f"digest of {name} must be 64 hexadecimal digits, got {digest!r}")
        papers = (self.agreement, self.plan, self.ledger)
        if papers != (NO_AGREEMENT, "", "") and not all(map(_SHA256.fullmatch, papers)):
            raise MetricError(f"agreement, plan and ledger are named by digests, all or none, got {papers}")
