"""What a comparison on many tasks is: data, partners, seeds, and how to train."""

from dataclasses import asdict, dataclass, replace

from pharmonia import __version__
from pharmonia.base.canonical import Json
from pharmonia.base.errors import OptionError
from pharmonia.bench.settings import MAX_SEEDS
from pharmonia.data.qsar import Sharing, TaskQuorum
from pharmonia.data.qsar_sets import QsarSet
from pharmonia.learn.algorithms import Schedule
from pharmonia.learn.multitask_settings import MultitaskSettings, check_method
from pharmonia.learn.settings import MAX_SEED, Aggregation, Algorithm, Method, check_passes


@dataclass(frozen=True, slots=True, kw_only=True)
class QsarSettings:
    """Everything that changes the result of a comparison on many tasks.

    Args:
        dataset: What is shared out.
        n_partners: At least 2.
        sharing: How.
        seeds: Each a repetition with its own partition and initialisation; the test fold is the same for all.
        local: The network, and how an owner of data trains it by itself; its catalogue is empty.
        method: How the federated partners' steps become one.
        aggregation: What the coordinator learns of a federated partner's gradient or update.
        schedule: How long to train.
        catalogue: Whether tasks that several partners have get one head for all in the federated arm; else each
            partner has its own.
        quorum: How many labels of a partner a task needs.

    Raises:
        OptionError: A value is out of range, or a method that means nothing for many tasks.
    """

    dataset: QsarSet
    n_partners: int
    sharing: Sharing
    seeds: tuple[int, ...]
    local: MultitaskSettings
    method: Method
    aggregation: Aggregation
    schedule: Schedule
    catalogue: bool
    quorum: TaskQuorum

    def __post_init__(self) -> None:
        if self.n_partners < 2:
            raise OptionError(f"a comparison needs at least 2 partners, got {self.n_partners}")
        if not 1 <= len(self.seeds) <= MAX_SEEDS or len(set(self.seeds)) != len(self.seeds):
            raise OptionError(f"a comparison takes 1 to {MAX_SEEDS} different seeds, got {self.seeds}")
        if min(self.seeds) < 0 or max(self.seeds) > MAX_SEED:
            raise OptionError(f"a seed must be 0 to {MAX_SEED}, got {self.seeds}")
        check_method(self.method)
        check_passes(self.method, self.local.local_epochs)

    @property
    def federated_batch_size(self) -> int:
        """In FedSGD, of all partners together: each takes part with the batch that it would train alone with."""
        is_joint = self.method.algorithm is Algorithm.FEDSGD
        return self.local.batch_size * (self.n_partners if is_joint else 1)

    def federated(self, classification: tuple[str, ...], regression: tuple[str, ...]) -> MultitaskSettings:
        """How federated partners train, with these catalogue tasks."""
        return replace(
            self.local,
            batch_size=self.federated_batch_size,
            catalogue_classification=classification,
            catalogue_regression=regression,
        )

    def to_json(self, seed: int) -> dict[str, Json]:
        """Plain values that determine the runs of single owners of one seed, for their digests."""
        return {
            "version": __version__,
            "dataset": self.dataset,
            "n_partners": self.n_partners,
            "sharing": self.sharing,
            "seed": seed,
            "local": asdict(self.local),
            "schedule": asdict(self.schedule),
            "quorum": asdict(self.quorum),
        }
