"""What a training run leaves behind: its settings, one record per round, and its best model."""

from dataclasses import dataclass
from pathlib import Path

from pharmonia.base.arrays import Vector
from pharmonia.learn.algorithms import Schedule, Selection
from pharmonia.learn.multitask_settings import MultitaskSettings
from pharmonia.learn.settings import LocalSettings, Method
from pharmonia.run.mandate import Mandate


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """Everything but the data that changes the result of a training run.

    Args:
        local: What each partner does in a round.
        method: How the partners' steps become one.
        schedule: How long to train.
        seed: Initialisation; shuffling and dropout follow from it at each partner.
    """

    local: LocalSettings | MultitaskSettings
    method: Method
    schedule: Schedule
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """Settings that change speed and never results.

    Args:
        checkpoint_every_s: A killed run repeats at most this much.
        transcripts: Where federated runs write down all that the coordinator sees; None for nowhere.
        mandate: The plan that federated runs are under, and where they keep the ledger; None for none.
    """

    checkpoint_every_s: float = 20.0
    transcripts: Path | None = None
    mandate: Mandate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRecord:
    """One finished and validated round.

    Args:
        round_index: Counted from 0.
        valid_error: Of the model after this round, over all partners' validation rows: mean squared error, or with many
            tasks the mean over them of their mean loss.
        train_loss: While training, mean over the rows of squared error, or over the compounds of their weighted losses.
        aggregate_digest: SHA-256 of the parameters after this round.
        bytes_to_partners: Frames sent in this round.
        bytes_from_partners: Frames received in this round.
        wall_s: Seconds on the clock.
        cpu_s: CPU seconds of coordinator and parties.
        n_clipped: Elements clipped in the sums that were used: 0, for a sum with clipped elements is made again.
        sum_error: Largest difference of a sum's element from the float64 sum of what the partners contributed, as a
            share of the largest element; None where nobody can know it, as between companies.
    """

    round_index: int
    valid_error: float
    train_loss: float
    aggregate_digest: str
    bytes_to_partners: int
    bytes_from_partners: int
    wall_s: float
    cpu_s: float
    n_clipped: int
    sum_error: float | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainedModel:
    """The model of the best round, and how it came about.

    Args:
        parameters: (n_params,) float64.
        selection: The best round and its validation error.
        rounds: Every round, in order.
    """

    parameters: Vector
    selection: Selection
    rounds: tuple[RoundRecord, ...]

    @property
    def training(self) -> "Training":
        """How it came about, without its parameters."""
        return Training(n_params=self.parameters.size, selection=self.selection, rounds=self.rounds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How a model came about.

    Args:
        n_params: Its parameters.
        selection: The best round and its validation error.
        rounds: Every round, in order.
    """

    n_params: int
    selection: Selection
    rounds: tuple[RoundRecord, ...]
