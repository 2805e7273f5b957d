"""What every local learner does in a step, whatever its network."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pharmonia.base.arrays import Vector
from pharmonia.base.errors import OptionError
from pharmonia.learn.contributions import Totals
from pharmonia.learn.learner import State
from pharmonia.learn.settings import LOCAL, VALIDATION_WEIGHT_BITS, Algorithm, Method, OwnSteps, Weighting
from pharmonia.nn.parameters import Layout, load_vector, to_vector


def batches(order: npt.NDArray[np.int64], batch_size: int) -> list[npt.NDArray[np.int64]]:
    """Batches of nearly equal size, none over batch_size; a lone last row would upset BatchNorm."""
    return np.array_split(order, -(-order.size // batch_size))


def weight_of(weighting: Weighting, n_rows: int, before: Totals, validate: Callable[[], Totals]) -> int:
    """How much a partner's update counts.

    Args:
        weighting: Of the method.
        n_rows: Training rows, or compounds.
        before: Of the broadcast model.
        validate: Of the model after training; called where the weighting needs it.
    """
    match weighting:
        case Weighting.ROWS:
            return n_rows
        case Weighting.EQUAL:
            return 1
        case Weighting.VALIDATION:  # half of the most where training changed nothing, more where it helped
            after = validate().valid_error
            both = before.valid_error + after
            share = before.valid_error / both if both > 0 else 0.5  # nothing to improve, as where all labels are bounds
            return max(1, round((1 << VALIDATION_WEIGHT_BITS) * share))


class PrivatePart:
    """A partner's private tensors: now, in the model that is being judged, and in the best round's model."""

    def __init__(self, network: nn.Module, layout: Layout) -> None:
        self._network, self._layout = network, layout
        self._candidate = self._best = to_vector(network, layout)
        self._candidate_round = -1

    def hold(self, round_index: int) -> None:
        """Keep what the tensors are now: they belong to this round's model."""
        self._candidate, self._candidate_round = to_vector(self._network, self._layout), round_index

    def note_best(self, best_round: int) -> None:
        """Keep what was held, if it belongs to the best round's model."""
        if best_round == self._candidate_round:
            self._best = self._candidate

    @property
    def best(self) -> Vector:
        """(n_private,) float64, in the best round's model; empty if nothing is private."""
        return self._best

    def state(self) -> tuple[State, int]:
        """All of it as named arrays, none if nothing is private; and whose model is being judged."""
        if not self._layout.names:
            return {}, self._candidate_round
        vectors = {"now": to_vector(self._network, self._layout), "candidate": self._candidate, "best": self._best}
        return {f"private.{name}": vector.astype(np.float32) for name, vector in vectors.items()}, self._candidate_round

    def restore(self, state: State, candidate_round: int) -> None:
        """Take up what `state` gave."""
        self._candidate_round = candidate_round
        if self._layout.names:
            load_vector(self._network, self._layout, state["private.now"].astype(np.float64))
            self._candidate = state["private.candidate"].astype(np.float64)
            self._best = state["private.best"].astype(np.float64)


class Correction:
    """What FedProx, SCAFFOLD and steps of one's own make of a gradient before each local step."""

    def __init__(self, method: Method, weights: Sequence[Tensor], correction: list[Tensor]) -> None:
        """Correction: c - c_i of SCAFFOLD, one tensor for each weight; else none."""
        self._method, self._weights, self._correction = method, weights, correction
        self._n_steps = 0
        self._own = method.own if method.own is not None and method.own.has(LOCAL) else None
        if self._own is not None:
            self._anchor = [weight.detach().clone() for weight in weights]
        match method.algorithm:
            case Algorithm.FEDPROX:
                self._anchor = [weight.detach().clone() for weight in weights]
            case Algorithm.SCAFFOLD:
                self._sums = [torch.zeros_like(weight) for weight in weights]

    @torch.no_grad()
    def apply(self) -> None:
        """Correct the weights' gradients, once they are there.

        Raises:
            OptionError: A step of one's own failed, or gave something else than a gradient.
        """
        if self._own is not None:
            for weight, anchor in zip(self._weights, self._anchor, strict=True):
                if weight.grad is not None:
                    weight.grad.copy_(self._own_gradient(self._own, weight.grad, weight.detach(), anchor))
        match self._method.algorithm:
            case Algorithm.FEDPROX:  # Li et al. 2020: + mu (w - w_t)
                for weight, anchor in zip(self._weights, self._anchor, strict=True):
                    if weight.grad is not None:
                        weight.grad.add_(weight - anchor, alpha=self._method.strength)
            case Algorithm.SCAFFOLD:  # Karimireddy et al. 2020, Algorithm 1: - c_i + c
                for weight, total, correction in zip(self._weights, self._sums, self._correction, strict=True):
                    if weight.grad is not None:
                        total.add_(weight.grad)
                        weight.grad.add_(correction)
        self._n_steps += 1

    def _own_gradient(self, own: OwnSteps, gradient: Tensor, weight: Tensor, start: Tensor) -> Tensor:
        """What `local_NAME(strength, gradient, weight, start)` returns; start is the weight that was broadcast."""
        returned = own.code.call(
            LOCAL, own.name, self._method.strength, gradient.clone(), weight.clone(), start.clone()
        )
        if not isinstance(returned, Tensor) or returned.shape != gradient.shape:
            raise OptionError(
                f"{own.code.file}: local_{own.name.replace('-', '_')} must return a tensor of the gradient's shape"
            )
        return returned

    def mean_gradients(self) -> list[Tensor]:
        """Mean uncorrected gradient over the steps: option II's c_i+ where the local optimiser is SGD."""
        return [total / self._n_steps for total in self._sums]
