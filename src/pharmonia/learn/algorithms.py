"""The server's side of federated averaging: apply the average, choose the best round, stop early."""

from dataclasses import dataclass, replace

from pharmonia.base.errors import OptionError


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long to train.

    Args:
        rounds: Training rounds at most, at least 1.
        patience: Stop after this many rounds without a better validation error, at least 1.

    Raises:
        OptionError: A value is out of range.
    """

    rounds: int
    patience: int

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.patience < 1:
            raise OptionError(f"rounds and patience must be at least 1, got {self.rounds} and {self.patience}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which round's model is best so far, by validation error alone.

    Args:
        best_round: None before the first round.
        best_error: Mean squared error of that round's model on the validation rows.
        n_waited: Rounds since then.
    """

    best_round: int | None = None
    best_error: float = float("inf")
    n_waited: int = 0

    def after(self, round_index: int, error: float) -> "Selection":
        """The selection once this round's model is validated; the earliest of equals stays."""
        if error < self.best_error:
            return Selection(best_round=round_index, best_error=error, n_waited=0)
        return replace(self, n_waited=self.n_waited + 1)

    def should_stop(self, schedule: Schedule) -> bool:
        """Whether patience is exhausted."""
        return self.n_waited >= schedule.patience
