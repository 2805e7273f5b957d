"""Training with one data set: a partner's part of a step. Read `LocalLearner.contribute` first."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from pharmonia.base.arrays import Vector
from pharmonia.base.errors import UpdateError
from pharmonia.data.interactions import Pairs
from pharmonia.data.partner import PartnerDataset
from pharmonia.learn.contributions import Contribution, Totals, pack
from pharmonia.learn.learner import State, Tensors
from pharmonia.learn.messages import Broadcast
from pharmonia.learn.network import (
    STATISTICS,
    initial_parameters,
    make_network,
    private_layout,
    score,
    shared_layout,
    sum_tensors,
)
from pharmonia.learn.settings import MAX_SEED, Algorithm, LocalSettings, Method, Optimiser
from pharmonia.learn.steps import Correction, PrivatePart, batches, weight_of
from pharmonia.nn.interaction import EntityIndex
from pharmonia.nn.parameters import load_vector, to_vector


class LocalLearner:
    """A partner's network, optimiser and data; what is private in them never leaves."""

    def __init__(self, dataset: PartnerDataset, settings: LocalSettings, method: Method, seed: tuple[int, ...]) -> None:
        """Seed: of the run, then what tells this partner from others; with the round they determine all chance."""
        self._dataset, self._settings, self._method, self._seed = dataset, settings, method, seed
        self._entities = EntityIndex(dataset.graphs, dataset.tokens, dataset.smiles_tokens)
        self._valid_batch = self._entities.batch(dataset.valid.compound, dataset.valid.target)
        self._network = make_network(settings, seed[0])
        self._layout = shared_layout(self._network, method)
        self._private = private_layout(self._network, method)
        initial_parameters(self._network, self._layout, method, float(dataset.train.value.mean(dtype=np.float64)))
        weights = dict(self._network.named_parameters())
        self._shared_weights = [weights[name] for name in self._layout.names if name in weights]
        self._optimiser = _make_optimiser(self._own_weights(weights), settings)
        n_control = self._layout.n_params if method.algorithm is Algorithm.SCAFFOLD else 0
        self._control = np.zeros(n_control, dtype=np.float32)  # c_i
        self._private_part = PrivatePart(self._network, self._private)

    def _own_weights(self, weights: dict[str, torch.nn.Parameter]) -> list[torch.nn.Parameter]:
        """What this partner's optimiser steps: all weights, or in FedSGD those that are not shared."""
        is_stepped = self._method.algorithm is not Algorithm.FEDSGD
        return [weight for name, weight in weights.items() if is_stepped or name in self._private.names]

    @property
    def sum_tensors(self) -> Tensors:
        """Names and lengths of the tensors that a training step sums."""
        return sum_tensors(self._layout, self._method)

    @property
    def statistics_tensors(self) -> Tensors:
        """Names and lengths of what the sum before round 0 is over."""
        return STATISTICS

    def statistics(self) -> Contribution:
        """The mean of the training values, weighted by their number."""
        values = self._dataset.train.value
        mean = np.array([values.mean(dtype=np.float64)], dtype=np.float32)
        return Contribution(weight=values.size, values=mean)

    def contribute(self, broadcast: Broadcast) -> Contribution:
        """This partner's part of a step: validate the broadcast model, train from it, and say what changed.

        Raises:
            UpdateError: Training diverged, or FedSGD has more steps than this partner has rows for.
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
        if self._method.algorithm is Algorithm.FEDSGD:
            change, error, n_rows = self._gradient(parameters, broadcast)
            weight = n_rows
        else:
            change, error, n_rows = self._train(parameters, control, broadcast.round_index)
            weight = weight_of(self._method.weighting, len(self._dataset.train), before, self._validate)
        totals = Totals(
            train_error=error, train_rows=n_rows, valid_error=before.valid_error, valid_rows=before.valid_rows
        )
        return pack(change, totals, weight)

    def validate(self, parameters: Vector) -> Totals:
        """The squared error of the shared vector, with this partner's private part, on its validation rows."""
        load_vector(self._network, self._layout, parameters[: self._layout.n_params])
        return self._validate()

    def _validate(self) -> Totals:
        predicted = score(self._network, self._valid_batch)
        error = float(np.square(predicted - self._dataset.valid.value.astype(np.float64)).sum())
        return Totals(valid_error=error, valid_rows=predicted.size)

    def _train(self, parameters: Vector, control: Vector, round_index: int) -> tuple[Vector, float, int]:
        """Passes over the rows from the broadcast parameters (McMahan et al. 2017, Algorithm 1, ClientUpdate)."""
        rng = np.random.default_rng([*self._seed, round_index])
        torch.manual_seed(int(rng.integers(MAX_SEED)))
        is_scaffold = self._method.algorithm is Algorithm.SCAFFOLD
        tilt = self._tensors(control - self._control) if is_scaffold else []
        correction = Correction(self._method, self._shared_weights, tilt)
        n_rows, squared_error = 0, 0.0
        for _ in range(self._settings.local_epochs):
            for rows in batches(rng.permutation(len(self._dataset.train)), self._settings.batch_size):
                loss = self._backward(self._dataset.train.take(rows))
                correction.apply()
                self._step()
                squared_error += loss * rows.size
                n_rows += rows.size
        self._network.zero_grad()  # gradients need no memory until the next round
        change = to_vector(self._network, self._layout) - parameters
        if is_scaffold:
            mean = self._vector(correction.mean_gradients()).astype(np.float32)
            change = np.concatenate([change, mean.astype(np.float64) - self._control])
            self._control = mean
        return change, squared_error, n_rows

    def _gradient(self, parameters: Vector, broadcast: Broadcast) -> tuple[Vector, float, int]:
        """The gradient over this partner's share of a minibatch; private weights take their step here."""
        order = np.random.default_rng([*self._seed, broadcast.round_index]).permutation(len(self._dataset.train))
        rows = np.array_split(order, broadcast.n_steps)[broadcast.step]
        if rows.size < 2:
            raise UpdateError(
                f"{self._dataset.name} has {order.size} rows for {broadcast.n_steps} steps; use a larger batch size"
            )
        chance = np.random.default_rng([*self._seed, broadcast.round_index, broadcast.step])
        torch.manual_seed(int(chance.integers(MAX_SEED)))
        loss = self._backward(self._dataset.train.take(rows))
        change = to_vector(self._network, self._layout) - parameters  # of running statistics; else zero
        gradients = self._vector([weight.grad for weight in self._shared_weights if weight.grad is not None])
        self._step()
        return change + gradients, loss * rows.size, rows.size

    def _step(self) -> None:
        if self._optimiser is not None:
            self._optimiser.step()

    def _backward(self, pairs: Pairs) -> float:
        batch = self._entities.batch(pairs.compound, pairs.target)
        self._network.zero_grad()
        loss = torch.nn.functional.mse_loss(self._network(batch), torch.tensor(pairs.value))
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    def _vector(self, tensors: Sequence[Tensor]) -> Vector:
        """(n_shared,) float64 of one tensor per shared weight, zero for running statistics."""
        vector = np.zeros(self._layout.n_params)
        for (start, stop, _), tensor in zip(self._places(), tensors, strict=True):
            vector[start:stop] = tensor.detach().numpy().reshape(-1)
        return vector

    def _tensors(self, vector: Vector) -> list[Tensor]:
        """The reverse of `_vector`."""
        values = vector.astype(np.float32)
        return [torch.from_numpy(values[start:stop].copy()).view(shape) for start, stop, shape in self._places()]

    def _places(self) -> Iterator[tuple[int, int, tuple[int, ...]]]:
        start = 0
        layout = self._layout
        for size, shape, trained in zip(layout.lengths, layout.shapes, layout.trained, strict=True):
            if trained:
                yield start, start + size, shape
            start += size

    def note_best(self, best_round: int) -> None:
        """Keep the private part that belongs to the best round's model."""
        self._private_part.note_best(best_round)

    @property
    def best_private_part(self) -> Vector:
        """(n_private,) float64: this partner's private tensors in the best round's model; empty if none are."""
        return self._private_part.best

    def private_state(self) -> tuple[State, int]:
        """What this partner remembers, as named arrays and its candidate's round, for a bit-identical resume."""
        state, candidate_round = self._private_part.state()
        if self._optimiser is not None:
            state |= {
                f"optimiser.{index}.{name}": tensor.detach().numpy().reshape(tensor.shape).copy()
                for index, entry in self._optimiser.state_dict()["state"].items()
                for name, tensor in entry.items()
                if isinstance(tensor, Tensor)
            }
        if self._method.algorithm is Algorithm.SCAFFOLD:
            state["control"] = self._control
        return state, candidate_round

    def restore(self, state: State, candidate_round: int) -> None:
        """Take up what `private_state` gave."""
        entries: dict[int, dict[str, Tensor]] = {}
        for key, array in state.items():
            kind, _, rest = key.partition(".")
            if kind == "optimiser":
                index, name = rest.split(".", 1)
                entries.setdefault(int(index), {})[name] = torch.from_numpy(array.copy())
        if self._optimiser is not None:
            whole = self._optimiser.state_dict()
            self._optimiser.load_state_dict({"state": entries, "param_groups": whole["param_groups"]})
        self._control = state.get("control", self._control)
        self._private_part.restore(state, candidate_round)


def _make_optimiser(weights: list[torch.nn.Parameter], settings: LocalSettings) -> torch.optim.Optimizer | None:
    if not weights:  # FedSGD with nothing private: the coordinator steps
        return None
    match settings.optimiser:
        case Optimiser.ADAM:
            return torch.optim.Adam(weights, lr=settings.learning_rate, fused=True)
        case Optimiser.SGD:
            return torch.optim.SGD(weights, lr=settings.learning_rate)
