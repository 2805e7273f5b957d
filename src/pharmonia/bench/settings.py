"""What a comparison is: data, partners, split, seeds, and how to train."""

from dataclasses import asdict, dataclass

from pharmonia import __version__
from pharmonia.base.canonical import Json
from pharmonia.base.errors import OptionError
from pharmonia.bench.own_scenario import OwnScenario
from pharmonia.bench.scenario import Scenario
from pharmonia.data.splits import SplitKind
from pharmonia.learn.algorithms import Schedule
from pharmonia.learn.settings import MAX_SEED, Aggregation, LocalSettings, Method, check_passes, check_private

MAX_SEEDS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonSettings:
    """Everything that changes the result of a comparison.

    Args:
        dataset: Name of a data set that can be loaded.
        n_partners: At least 2.
        scenario: How the rows are shared out between partners.
        split: What is held out within them.
        seeds: Each a repetition with its own partition, split and initialisation; all different.
        local: What each partner does in a round.
        method: How the federated partners' steps become one.
        aggregation: What the coordinator learns of a federated partner's update.
        schedule: How long to train.

    Raises:
        OptionError: A value is out of range, or a method that means something else with these local settings.
    """

    dataset: str
    n_partners: int
    scenario: Scenario | OwnScenario
    split: SplitKind
    seeds: tuple[int, ...]
    local: LocalSettings
    method: Method
    aggregation: Aggregation
    schedule: Schedule

    def __post_init__(self) -> None:
        if self.n_partners < 2:
            raise OptionError(f"a comparison needs at least 2 partners, got {self.n_partners}")
        if not 1 <= len(self.seeds) <= MAX_SEEDS or len(set(self.seeds)) != len(self.seeds):
            raise OptionError(f"a comparison takes 1 to {MAX_SEEDS} different seeds, got {self.seeds}")
        if min(self.seeds) < 0 or max(self.seeds) > MAX_SEED:
            raise OptionError(f"a seed must be 0 to {MAX_SEED}, got {self.seeds}")
        check_passes(self.method, self.local.local_epochs)
        check_private(self.method, self.local.model)

    def to_json(self, seed: int) -> dict[str, Json]:
        """Plain values that determine the alone and pooled runs of one seed, for their digests."""
        return {
            "version": __version__,
            "dataset": self.dataset,
            "n_partners": self.n_partners,
            "scenario": self.scenario.identity,
            "split": self.split,
            "seed": seed,
            "local": asdict(self.local),
            "schedule": asdict(self.schedule),
        }
