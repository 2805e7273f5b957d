"""Where and how a comparison or battery runs; none of it changes results."""

from dataclasses import dataclass, field
from pathlib import Path

from pharmonia.base.errors import OptionError
from pharmonia.bench.arms import StorePlace
from pharmonia.run.records import Performance

DATABASE_FILE = "runs.sqlite"  # in an output folder, unless a store elsewhere is named


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """How to run a comparison; none of it changes results.

    Args:
        place: Where runs are kept.
        n_workers: Processes side by side, at least 1.
        performance: Settings of each run.
    """

    place: StorePlace
    n_workers: int
    performance: Performance = field(default_factory=Performance)

    def __post_init__(self) -> None:
        if self.n_workers < 1:
            raise OptionError(f"at least 1 worker is needed, got {self.n_workers}")


def default_place(folder: Path) -> StorePlace:
    """One SQLite file and a directory of arrays in an output folder."""
    return StorePlace(url=f"sqlite:///{folder / DATABASE_FILE}", folder=folder / "runs")
