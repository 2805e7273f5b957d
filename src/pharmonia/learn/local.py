"""Training and prediction with one data set: a partner's part of a round."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pharmonia.base.arrays import Vector
from pharmonia.data.interactions import EncodedInteractions, Pairs
from pharmonia.data.partner import PartnerDataset
from pharmonia.learn.messages import Statistics, Update, ValidationScore
from pharmonia.learn.settings import MAX_SEED, LocalSettings, Optimiser
from pharmonia.nn.choices import Norm
from pharmonia.nn.interaction import EntityIndex, GinInteraction, InteractionBatch
from pharmonia.nn.parameters import Layout, load_vector, to_vector


def initial_parameters(norm: Norm, seed: int, mean_value: float) -> Vector:
    """(n_params,) float64 parameters before round 0: PyTorch's initialisation, output bias at the mean value.

    Without the bias the network spends its first epochs learning the mean (KIBA, 14 epochs: MSE 0.375 against
    0.265).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = GinInteraction(norm)
    with torch.no_grad():
        model.out.bias.fill_(mean_value)
    return to_vector(model, Layout.of(model))


class LocalLearner:
    """A partner's model, optimiser and data; the optimiser's state never leaves."""

    def __init__(self, dataset: PartnerDataset, settings: LocalSettings, seed: tuple[int, ...]) -> None:
        """Seed: whole numbers that, with the round, determine shuffling and dropout."""
        self._dataset = dataset
        self._settings = settings
        self._seed = seed
        self._entities = EntityIndex(dataset.graphs, dataset.tokens)
        self._valid_batch = self._entities.batch(dataset.valid.compound, dataset.valid.target)
        self._model = GinInteraction(settings.norm)
        self._layout = Layout.of(self._model)
        self._optimiser = _make_optimiser(self._model, settings)

    def statistics(self) -> Statistics:
        """Number and sum of the training values."""
        values = self._dataset.train.value
        return Statistics(n_train=values.size, value_sum=float(values.sum(dtype=np.float64)))

    def validate(self, parameters: Vector) -> ValidationScore:
        """The parameters' squared error on the validation rows."""
        load_vector(self._model, self._layout, parameters)
        predicted = _predict(self._model, self._valid_batch)
        error = float(np.square(predicted - self._dataset.valid.value.astype(np.float64)).sum())
        return ValidationScore(n_rows=predicted.size, squared_error=error)

    def train(self, parameters: Vector, round_index: int) -> Update:
        """Train from the parameters for one round (McMahan et al. 2017, Algorithm 1, ClientUpdate)."""
        load_vector(self._model, self._layout, parameters)
        rng = np.random.default_rng([*self._seed, round_index])
        torch.manual_seed(int(rng.integers(MAX_SEED)))
        self._model.train()
        n_rows, squared_error = 0, 0.0
        for _ in range(self._settings.local_epochs):
            for rows in _batches(rng.permutation(len(self._dataset.train)), self._settings.batch_size):
                squared_error += self._step(self._dataset.train.take(rows)) * rows.size
                n_rows += rows.size
        self._optimiser.zero_grad()  # gradients need no memory until the next round
        delta = to_vector(self._model, self._layout) - parameters
        n_examples = len(self._dataset.train)
        return Update(round_index=round_index, n_examples=n_examples, loss=squared_error / n_rows, delta=delta)

    def _step(self, pairs: Pairs) -> float:
        batch = self._entities.batch(pairs.compound, pairs.target)
        self._optimiser.zero_grad()
        loss = torch.nn.functional.mse_loss(self._model(batch), torch.tensor(pairs.value))
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        return loss.item()

    def private_state(self) -> dict[str, npt.NDArray[np.float32]]:
        """The optimiser's state as named arrays, for a resume that ends bit-identical."""
        state = self._optimiser.state_dict()["state"]
        return {
            f"{index}.{name}": tensor.detach().numpy().reshape(tensor.shape).copy()
            for index, entry in state.items()
            for name, tensor in entry.items()
            if isinstance(tensor, Tensor)
        }

    def restore(self, private_state: dict[str, npt.NDArray[np.float32]]) -> None:
        """Take up the optimiser's state where `private_state` left it."""
        entries: dict[int, dict[str, Tensor]] = {}
        for key, array in private_state.items():
            index, name = key.split(".", 1)
            entries.setdefault(int(index), {})[name] = torch.from_numpy(array.copy())
        whole = self._optimiser.state_dict()
        self._optimiser.load_state_dict({"state": entries, "param_groups": whole["param_groups"]})


def predict(parameters: Vector, norm: Norm, encoded: EncodedInteractions, pairs: Pairs) -> Vector:
    """(n_rows,) float64 predictions, each unique compound and target encoded once."""
    model = GinInteraction(norm)
    load_vector(model, Layout.of(model), parameters)
    entities = EntityIndex(encoded.graphs, encoded.tokens)
    return _predict(model, entities.batch(pairs.compound, pairs.target))


def use_one_thread() -> None:
    """One thread per process: processes side by side beat threads here."""
    torch.set_num_threads(1)


@torch.no_grad()
def _predict(model: GinInteraction, batch: InteractionBatch) -> Vector:
    return model.eval().score(batch).numpy().astype(np.float64)


def _batches(order: npt.NDArray[np.int64], batch_size: int) -> list[npt.NDArray[np.int64]]:
    """Batches of nearly equal size, none over batch_size; a lone last row would upset BatchNorm."""
    return np.array_split(order, -(-order.size // batch_size))


def _make_optimiser(model: GinInteraction, settings: LocalSettings) -> torch.optim.Optimizer:
    match settings.optimiser:
        case Optimiser.ADAM:
            return torch.optim.Adam(model.parameters(), lr=settings.learning_rate, fused=True)
        case Optimiser.SGD:
            return torch.optim.SGD(model.parameters(), lr=settings.learning_rate)
