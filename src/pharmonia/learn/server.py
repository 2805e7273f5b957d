"""The coordinator's step: from the partners' mean change to new shared parameters."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import Vector
from pharmonia.base.errors import OptionError
from pharmonia.learn.settings import SERVER, Algorithm, Method, Optimiser, OwnSteps

BETA_1, BETA_2, TAU = 0.9, 0.99, 1e-3  # Reddi et al. 2021, section 5 and appendix D; there 0, 0 for FedAdagrad
ADAM_BETA_1, ADAM_BETA_2, ADAM_EPSILON = 0.9, 0.999, 1e-8  # PyTorch's and the paper's

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ServerState:
    """What an adaptive server remembers from step to step.

    Args:
        n_steps: Taken so far.
        moments: (n_shared,) float64 each, by name; empty where nothing is remembered.
    """

    n_steps: int = 0
    moments: Mapping[str, Vector] = field(default_factory=lambda: MappingProxyType({}))

    def after(self, **moments: Vector) -> "ServerState":
        """The state one step on."""
        return ServerState(n_steps=self.n_steps + 1, moments=MappingProxyType(moments))


@dataclass(frozen=True, slots=True, kw_only=True)
class Descent:
    """How the coordinator goes down a gradient, in FedSGD; the partners' own optimiser and learning rate.

    Args:
        optimiser: Its kind.
        learning_rate: Of this round.
    """

    optimiser: Optimiser
    learning_rate: float


def server_step(
    method: Method, descent: Descent, parameters: Vector, change: Vector, trained: Mask, state: ServerState
) -> tuple[Vector, ServerState]:
    """The shared vector after a step, and the server's state.

    Args:
        method: Of the run.
        descent: For FedSGD.
        parameters: (n_shared,) float64. With SCAFFOLD, parameters and then the control variate c.
        change: (n_shared,) float64, the weighted mean over partners: of new minus old, or in FedSGD of gradients.
        trained: (n_shared,) bool; False for running statistics, whose mean change is applied as it is.
        state: After the last step.

    Raises:
        OptionError: A step of one's own failed, or is no step.
    """
    if method.own is not None and method.own.has(SERVER):
        step, state = _own(method, method.own, change, state)
        return parameters + np.where(trained, step, change), state
    match method.algorithm:
        case Algorithm.FEDAVG | Algorithm.FEDPROX | Algorithm.SCAFFOLD:
            return parameters + change, state.after()
        case Algorithm.FEDADAM | Algorithm.FEDYOGI | Algorithm.FEDADAGRAD:
            step, state = _adaptive(method, change, state)
        case Algorithm.FEDSGD:
            step, state = _descended(descent, change, state)
    return parameters + np.where(trained, step, change), state


def _own(method: Method, own: OwnSteps, change: Vector, state: ServerState) -> tuple[Vector, ServerState]:
    """What `server_NAME(strength, change, state)` returns: a step as long as the change, and `state.after(...)`."""
    returned = own.code.call(SERVER, own.name, method.strength, change.copy(), state)
    where = f"{own.code.file}: server_{own.name.replace('-', '_')} must return a step and state.after(...)"
    if not (isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], ServerState)):
        raise OptionError(f"{where}, got {type(returned).__name__}")
    step = np.asarray(returned[0], dtype=np.float64)
    if step.shape != change.shape:
        raise OptionError(f"{where}; the step has shape {step.shape}, not {change.shape}")
    return step, returned[1]


def _adaptive(method: Method, change: Vector, state: ServerState) -> tuple[Vector, ServerState]:
    """Reddi et al. 2021, Algorithm 2: Delta = change, eta = strength, no bias correction.

    FedAdagrad is without momentum, beta_1 = 0 and so m = Delta, as in the paper's experiments (appendix D).
    """
    old_v = state.moments.get("v", np.full_like(change, TAU**2))
    square = np.square(change)
    if method.algorithm is Algorithm.FEDADAGRAD:
        v = old_v + square
        return method.strength * change / (np.sqrt(v) + TAU), state.after(v=v)
    old_m = state.moments.get("m", np.zeros_like(change))
    m = BETA_1 * old_m + (1 - BETA_1) * change
    if method.algorithm is Algorithm.FEDYOGI:
        v = old_v - (1 - BETA_2) * square * np.sign(old_v - square)
    else:
        v = BETA_2 * old_v + (1 - BETA_2) * square
    return method.strength * m / (np.sqrt(v) + TAU), state.after(m=m, v=v)


def _descended(descent: Descent, gradient: Vector, state: ServerState) -> tuple[Vector, ServerState]:
    """A step of SGD or Adam (Kingma and Ba 2015, Algorithm 1) on the mean gradient, as one owner of all rows would."""
    if descent.optimiser is Optimiser.SGD:
        return -descent.learning_rate * gradient, state.after()
    old_m = state.moments.get("m", np.zeros_like(gradient))
    old_v = state.moments.get("v", np.zeros_like(gradient))
    m = ADAM_BETA_1 * old_m + (1 - ADAM_BETA_1) * gradient
    v = ADAM_BETA_2 * old_v + (1 - ADAM_BETA_2) * np.square(gradient)
    count = state.n_steps + 1
    corrected = np.sqrt(v / (1 - ADAM_BETA_2**count)) + ADAM_EPSILON
    return -descent.learning_rate * (m / (1 - ADAM_BETA_1**count)) / corrected, state.after(m=m, v=v)
