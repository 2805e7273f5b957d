"""The report of a comparison: tables as data and plain sentences, built by one pure function."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pharmonia.evaluate.outcome import RunDescription, SeedOutcome

DEFAULT_RESAMPLES = 1000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Report:
    """What a comparison found, ready to be printed, written or drawn."""

    description: RunDescription


def build_report(
    outcomes: Sequence[SeedOutcome],
    description: RunDescription,
    rng: np.random.Generator,
    n_resamples: int = DEFAULT_RESAMPLES,
) -> Report:
    """Scores, gains, verdicts and everything drawn, from one outcome per seed.

    Args:
        outcomes: One per seed of the description, in its order, all of the same partners.
        description: How the comparison was run.
        rng: Draws the resampled test rows.
        n_resamples: Bootstrap resamples, at least 100.

    Raises:
        MetricError: The outcomes do not belong together or to the description.
    """
    raise NotImplementedError
