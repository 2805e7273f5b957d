"""The part of a network that partners share, as the coordinator knows it: without anybody's data, heads or norms."""

from typing import Protocol

from pharmonia.base.arrays import Vector
from pharmonia.learn import multitask_network, network
from pharmonia.learn.learner import Tensors
from pharmonia.learn.multitask_settings import MultitaskSettings, check_method
from pharmonia.learn.server import Descent
from pharmonia.learn.settings import LocalSettings, Method
from pharmonia.nn.parameters import Layout


class SharedModel(Protocol):
    """What a coordinator needs to know of the network that partners train."""

    @property
    def layout(self) -> Layout:
        """The tensors that the partners share."""
        ...

    @property
    def statistics_tensors(self) -> Tensors:
        """Names and lengths of what the sum before round 0 is over."""
        ...

    def start(self, mean: Vector, total_weight: int) -> Vector:
        """(n_shared,) float64 before round 0, from the partners' mean statistics and the sum of their weights."""
        ...

    def descent_at(self, round_index: int) -> Descent:
        """The coordinator's own steps of a round, in FedSGD."""
        ...


class _Interaction:
    """Of a network that predicts pairs of compound and target."""

    def __init__(self, local: LocalSettings, method: Method, seed: int) -> None:
        self._local, self._method, self._seed = local, method, seed
        self.layout = network.shared_layout(network.make_network(local, seed), method)
        self.statistics_tensors = network.STATISTICS

    def start(self, mean: Vector, total_weight: int) -> Vector:  # noqa: ARG002  # a mean value needs no number
        made = network.make_network(self._local, self._seed)
        return network.initial_parameters(made, self.layout, self._method, float(mean[0]))

    def descent_at(self, round_index: int) -> Descent:  # noqa: ARG002  # the same in all rounds
        return Descent(optimiser=self._local.optimiser, learning_rate=self._local.learning_rate)


class _Multitask:
    """Of a network of many tasks."""

    def __init__(self, settings: MultitaskSettings, method: Method, seed: int) -> None:
        self._settings, self._method, self._seed = settings, method, seed
        self.layout = multitask_network.shared_layout(multitask_network.make_network(settings, {}, seed))
        self.statistics_tensors = multitask_network.statistics_tensors(settings)

    def start(self, mean: Vector, total_weight: int) -> Vector:
        made = multitask_network.make_network(self._settings, {}, self._seed)
        return multitask_network.initial_parameters(made, self._settings, self._method, mean, total_weight)

    def descent_at(self, round_index: int) -> Descent:
        return Descent(optimiser=self._settings.optimiser, learning_rate=self._settings.rate_at(round_index))


def shared_model(local: LocalSettings | MultitaskSettings, method: Method, seed: int) -> SharedModel:
    """What the partners of a run with these settings share.

    Raises:
        OptionError: A method that means nothing for the network.
    """
    if isinstance(local, MultitaskSettings):
        check_method(method)
        return _Multitask(local, method, seed)
    return _Interaction(local, method, seed)
