"""A partner's learner as a run sees it, whatever its network."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import Vector
from pharmonia.learn.contributions import Contribution
from pharmonia.learn.messages import Broadcast

State = dict[str, npt.NDArray[np.float32]]
Tensors = tuple[tuple[str, ...], tuple[int, ...]]  # names, and their lengths


class Learner(Protocol):
    """A partner's network, optimiser and data; what is private in them never leaves."""

    @property
    def sum_tensors(self) -> Tensors:
        """Names and lengths of the tensors that a training step sums."""
        ...

    @property
    def statistics_tensors(self) -> Tensors:
        """Names and lengths of what the sum before round 0 is over."""
        ...

    def statistics(self) -> Contribution:
        """What the model starts from, weighted by training rows or compounds."""
        ...

    def contribute(self, broadcast: Broadcast) -> Contribution:
        """This partner's part of a step: validate the broadcast model, train from it, and say what changed."""
        ...

    def note_best(self, best_round: int) -> None:
        """Keep the private part that belongs to the best round's model."""
        ...

    @property
    def best_private_part(self) -> Vector:
        """(n_private,) float64: this partner's private tensors in the best round's model; empty if none are."""
        ...

    def private_state(self) -> tuple[State, int]:
        """What this partner remembers, as named arrays and its candidate's round, for a bit-identical resume."""
        ...

    def restore(self, state: State, candidate_round: int) -> None:
        """Take up what `private_state` gave."""
        ...
