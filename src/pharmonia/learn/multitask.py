"""A partner's part of a step of a network of many tasks. Read `MultitaskLearner.contribute` first."""

from dataclasses import astuple

import numpy as np
import torch

from pharmonia.base.arrays import Vector
from pharmonia.base.errors import UpdateError
from pharmonia.learn.contributions import Contribution, Totals, pack
from pharmonia.learn.learner import State, Tensors
from pharmonia.learn.messages import Broadcast
from pharmonia.learn.multitask_data import PartnerTasks
from pharmonia.learn.multitask_network import (
    centre_head,
    label_sums,
    make_network,
    private_layout,
    shared_layout,
    statistics,
    statistics_tensors,
)
from pharmonia.learn.multitask_settings import MultitaskSettings, check_method
from pharmonia.learn.multitask_steps import FederatedStep, LocalSteps
from pharmonia.learn.network import sum_tensors
from pharmonia.learn.settings import MAX_SEED, Algorithm, Method
from pharmonia.learn.steps import PrivatePart, weight_of
from pharmonia.nn.multitask import MultitaskBatch, MultitaskNetwork, chunks
from pharmonia.nn.parameters import Layout, load_vector, to_vector


class MultitaskLearner:
    """A partner's network, optimiser state and data; its heads and its normalisation never leave."""

    def __init__(self, data: PartnerTasks, settings: MultitaskSettings, method: Method, seed: tuple[int, ...]) -> None:
        """Seed: of the run, then what tells this partner from others; with the round they determine all chance.

        Raises:
            OptionError: A method that means nothing for a network of many tasks.
        """
        check_method(method)
        self._data, self._settings, self._method, self._seed = data, settings, method, seed
        self._network = make_network(settings, data.places.sizes, seed[0])
        for name, labels in data.train.labels.items():
            if not name.is_catalogue:
                centre_head(self._network.head(name), label_sums(labels))
        self._layout = shared_layout(self._network)
        self._work = _make_work(self._network, self._layout, settings, method)
        n_control = self._layout.n_params if method.algorithm is Algorithm.SCAFFOLD else 0
        self._control = np.zeros(n_control, dtype=np.float32)  # c_i
        self._private_part = PrivatePart(self._network, private_layout(self._network))

    @property
    def sum_tensors(self) -> Tensors:
        """Names and lengths of the tensors that a training step sums."""
        return sum_tensors(self._layout, self._method)

    @property
    def statistics_tensors(self) -> Tensors:
        """Names and lengths of what the sum before round 0 is over."""
        return statistics_tensors(self._settings)

    def statistics(self) -> Contribution:
        """How many labels there are, and what normalises the catalogue's, weighted by training compounds."""
        train = self._data.train
        mean = statistics(self._settings, train.labels, len(train))
        return Contribution(weight=len(train), values=mean.astype(np.float32))

    def contribute(self, broadcast: Broadcast) -> Contribution:
        """This partner's part of a step: validate the broadcast model, train from it, and say what changed.

        Raises:
            UpdateError: Training diverged, or FedSGD has more steps than this partner has compounds for.
        """
        self.note_best(broadcast.best_round)
        n_params = self._layout.n_params
        parameters, control = broadcast.parameters[:n_params], broadcast.parameters[n_params:]
        load_vector(self._network, self._layout, parameters)
        before = Totals()
        if broadcast.step == 0:
            before = self._validate()
            self._private_part.hold(broadcast.round_index - 1)
        if not broadcast.train:
            return pack(np.empty(0), before, weight=1)
        self._network.train()
        if isinstance(self._work, FederatedStep):
            return self._gradient(self._work, broadcast, before)
        change, error, n_rows = self._train(self._work, parameters, control, broadcast.round_index)
        totals = Totals(
            train_error=error, train_rows=n_rows, valid_error=before.valid_error, valid_rows=before.valid_rows
        )
        return pack(change, totals, weight_of(self._method.weighting, len(self._data.train), before, self._validate))

    def validate(self, parameters: Vector) -> Totals:
        """The error of the shared vector, with this partner's heads, on its validation compounds; as `_validate`."""
        load_vector(self._network, self._layout, parameters[: self._layout.n_params])
        return self._validate()

    @torch.no_grad()
    def _validate(self) -> Totals:
        """Sum over tasks of importance times mean loss, and sum of the importances of tasks with a label.

        A mean over tasks, as tasks are what a chemist asks about, and not over labels, most of which are of few tasks.
        """
        network, valid = self._network.eval(), self._data.valid
        sums = {name: np.zeros((2, size)) for name, size in self._data.places.sizes.items()}
        for rows in chunks(len(valid)):
            part = valid.take(rows)
            batch = MultitaskBatch.of(part.bits, part.labels, network.dtype)
            for name, losses in network.losses(batch).items():
                column, n = part.labels[name].column, part.labels[name].n_columns
                sums[name] += (np.bincount(column, losses.numpy(), n), np.bincount(column, minlength=n))
        error = importance = 0.0
        for name, (total, counts) in sums.items():
            weight = self._data.importance[name] * (counts > 0)
            error += self._settings.loss_weight(name.kind) * float(weight @ (total / np.maximum(counts, 1)))
            importance += float(weight.sum())
        return Totals(valid_error=error, valid_rows=importance)

    def _gradient(self, work: FederatedStep, broadcast: Broadcast, before: Totals) -> Contribution:
        """The gradient over this partner's share of a minibatch; heads take their step here."""
        order = np.random.default_rng([*self._seed, broadcast.round_index]).permutation(len(self._data.train))
        rows = np.array_split(order, broadcast.n_steps)[broadcast.step]
        if not rows.size:
            raise UpdateError(
                f"{self._data.name} has {order.size} compounds for {broadcast.n_steps} steps; use a larger batch size"
            )
        chance = np.random.default_rng([*self._seed, broadcast.round_index, broadcast.step])
        torch.manual_seed(int(chance.integers(MAX_SEED)))
        gradient, error = work.step(self._data.train.take(rows), self._settings.rate_at(broadcast.round_index))
        totals = Totals(
            train_error=error, train_rows=rows.size, valid_error=before.valid_error, valid_rows=before.valid_rows
        )
        scaled = np.array(astuple(totals)) / rows.size
        return Contribution(weight=rows.size, values=np.concatenate([gradient, scaled], dtype=np.float32))

    def _train(
        self, work: LocalSteps, parameters: Vector, control: Vector, round_index: int
    ) -> tuple[Vector, float, int]:
        """Passes over the compounds from the broadcast parameters (McMahan et al. 2017, Algorithm 1, ClientUpdate)."""
        rng = np.random.default_rng([*self._seed, round_index])
        torch.manual_seed(int(rng.integers(MAX_SEED)))
        is_scaffold = self._method.algorithm is Algorithm.SCAFFOLD
        tilt = control - self._control if is_scaffold else np.zeros(0)
        error, mean_gradient = work.run(self._data.train, rng, self._settings.rate_at(round_index), tilt)
        change = to_vector(self._network, self._layout) - parameters
        if is_scaffold:
            change = np.concatenate([change, mean_gradient.astype(np.float64) - self._control])
            self._control = mean_gradient
        return change, error, len(self._data.train) * self._settings.local_epochs

    def note_best(self, best_round: int) -> None:
        """Keep the heads that belong to the best round's model."""
        self._private_part.note_best(best_round)

    @property
    def best_private_part(self) -> Vector:
        """(n_private,) float64: this partner's heads and normalisation in the best round's model."""
        return self._private_part.best

    def private_state(self) -> tuple[State, int]:
        """What this partner remembers, as named arrays and its candidate's round, for a bit-identical resume."""
        state, candidate_round = self._private_part.state()
        if self._method.algorithm is Algorithm.SCAFFOLD:
            state["control"] = self._control
        return state | self._work.optimisers.state(), candidate_round

    def restore(self, state: State, candidate_round: int) -> None:
        """Take up what `private_state` gave."""
        self._work.optimisers.load(state)
        self._control = state.get("control", self._control)
        self._private_part.restore(state, candidate_round)


def _make_work(
    network: MultitaskNetwork, shared: Layout, settings: MultitaskSettings, method: Method
) -> FederatedStep | LocalSteps:
    if method.algorithm is Algorithm.FEDSGD:
        return FederatedStep(network, shared, settings)
    return LocalSteps(network, shared, settings, method)
