"""What the benchmark of scale measured, as its file holds it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from figures import RESULTS
from qsar_scale_sums import MaskCost, SharedRows

RUNS = RESULTS / "qsar-scale-runs.json"
GROWING = ("prepare", "load", "train", "evaluate")  # phases whose work is per compound or label


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """What one phase took."""

    cpu_s: float
    wall_s: float
    peak_gb: float  # largest resident set while it ran, mapped files included


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One size, from results to scores.

    Beside the phases of `GROWING`, `start` makes the network, `draw` makes the data and is no partner's work, and
    `round` is a whole round of FedAvg, with the pass of `train` once more.
    """

    n_compounds: int
    n_bits_set: int
    n_labels: int
    n_tasks: int
    n_train: int  # compounds that a pass goes over
    n_train_labels: int
    n_steps: int
    disk_gb: float
    median_auroc: float  # over the classification tasks that count, on the two folds that were not trained on
    median_r2: float  # the same for regression
    phases: dict[str, Phase]

    @property
    def cpu_s(self) -> float:
        """CPU seconds of the phases that grow."""
        return sum(self.phases[name].cpu_s for name in GROWING)

    @property
    def peak_gb(self) -> float:
        """Largest resident set of the process, in any phase."""
        return max(phase.peak_gb for phase in self.phases.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """All that the page of scale stands on.

    Args:
        runs: Of ever more compounds.
        many: With about as many labels a compound as MELLODDY had points.
        rows: That ten partners have in common.
        masks: Of one partner's step.
    """

    runs: tuple[Run, ...]
    many: Run
    rows: tuple[SharedRows, ...]
    masks: MaskCost


def write_runs(path: Path, measured: Measured) -> None:
    """Write the file."""
    path.write_text(json.dumps(asdict(measured), indent=1) + "\n", encoding="utf-8")


def read_runs(path: Path) -> Measured:
    """What `write_runs` wrote."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return Measured(
        runs=tuple(_run(record) for record in content["runs"]),
        many=_run(content["many"]),
        rows=tuple(SharedRows(**record) for record in content["rows"]),
        masks=MaskCost(**content["masks"]),
    )


def _run(record: dict[str, int | float | dict[str, dict[str, float]]]) -> Run:
    phases = record["phases"]
    if not isinstance(phases, dict):
        raise TypeError("phases should be named")
    rest = {name: value for name, value in record.items() if not isinstance(value, dict)}
    return Run(**rest, phases={name: Phase(**one) for name, one in phases.items()})  # type: ignore[arg-type]
