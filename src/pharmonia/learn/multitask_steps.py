"""Steps of a network of many tasks: the federated one, whose shared gradient leaves, and the local one."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pharmonia.base.arrays import Vector
from pharmonia.learn.learner import State
from pharmonia.learn.multitask_data import MultitaskRows
from pharmonia.learn.multitask_network import weighted_loss
from pharmonia.learn.multitask_settings import MultitaskSettings
from pharmonia.learn.settings import Algorithm, Method, Optimiser
from pharmonia.learn.steps import Correction, batches
from pharmonia.nn.multitask import MultitaskBatch, MultitaskNetwork
from pharmonia.nn.parameters import Layout
from pharmonia.nn.sparse import SparseLinear
from pharmonia.nn.sparse_steps import BlockAdam, BlockSgd

_DENSE, _BLOCKS = "optimiser", "blocks"


class Optimisers:
    """Adam or SGD on some weights of a network: sparse layers block by block, the rest by PyTorch's fused steps."""

    def __init__(
        self,
        weights: Mapping[str, torch.nn.Parameter],
        sparse: Sequence[SparseLinear],
        kind: Optimiser,
        learning_rate: float,
    ) -> None:
        """Weights: those that are stepped, by name; sparse: layers whose weights go block by block."""
        in_blocks = {id(layer.weight) for layer in sparse}
        dense = [weight for weight in weights.values() if id(weight) not in in_blocks]
        self._dense: torch.optim.Optimizer | None = None
        match kind:
            case Optimiser.ADAM:
                self._blocks: BlockAdam | BlockSgd = BlockAdam(sparse, learning_rate)
                self._dense = torch.optim.Adam(dense, lr=learning_rate, fused=True) if dense else None
            case Optimiser.SGD:
                self._blocks = BlockSgd(sparse, learning_rate)
                self._dense = torch.optim.SGD(dense, lr=learning_rate) if dense else None

    def step(self, learning_rate: float) -> None:
        """Follow the gradients of the last backward pass."""
        self._blocks.learning_rate = learning_rate
        self._blocks.step()
        if self._dense is not None:
            for group in self._dense.param_groups:
                group["lr"] = learning_rate
            self._dense.step()

    def state(self) -> State:
        """What they remember, as named arrays."""
        named = {f"{_BLOCKS}.{name}": tensor for name, tensor in self._blocks.state().items()}
        for index, entry in ({} if self._dense is None else self._dense.state_dict()["state"]).items():
            named |= {f"{_DENSE}.{index}.{name}": part for name, part in entry.items() if isinstance(part, Tensor)}
        return {name: tensor.detach().numpy().copy() for name, tensor in named.items()}

    def load(self, state: State) -> None:
        """Take up what `state` gave."""
        entries: dict[int, dict[str, Tensor]] = {}
        blocks: dict[str, Tensor] = {}
        for key, array in state.items():
            kind, _, rest = key.partition(".")
            if kind == _BLOCKS:
                blocks[rest] = torch.from_numpy(array.copy())
            elif kind == _DENSE:
                index, name = rest.split(".", 1)
                entries.setdefault(int(index), {})[name] = torch.from_numpy(array.copy())
        self._blocks.load(blocks)
        if self._dense is not None:
            groups = self._dense.state_dict()["param_groups"]
            self._dense.load_state_dict({"state": entries, "param_groups": groups})


class FederatedStep:
    """A partner's half of a gradient step: it steps its heads and gives the gradient of what is shared.

    With this the partners' sum is the pooled step: the shared gradient is a mean over the partner's compounds, so
    that the mean over partners, weighted by compounds, is the mean over all of them; private gradients are sums over
    its compounds divided by the batch size of all partners together, as they would be in a pooled batch.
    """

    def __init__(self, network: MultitaskNetwork, shared: Layout, settings: MultitaskSettings) -> None:
        """Shared: the tensors whose gradient leaves, those of the sparse layers among them."""
        self._network, self._shared, self._settings = network, shared, settings
        weights = dict(network.named_parameters())
        self._weights = weights
        self._private = {name: weight for name, weight in weights.items() if name not in shared.names}
        self.optimisers = Optimisers(self._private, (), settings.optimiser, settings.learning_rate)

    def step(self, rows: MultitaskRows, learning_rate: float) -> tuple[npt.NDArray[np.floating], float]:
        """Step the private weights, and give the shared gradient and the summed loss.

        Args:
            rows: This partner's share of the minibatch.
            learning_rate: Of the private weights.

        Returns:
            (n_shared,) in the network's dtype, zero for what is not trained; and the weighted loss over the rows.
        """
        self._network.zero_grad()
        batch = MultitaskBatch.of(rows.bits, rows.labels, self._network.dtype)
        loss = weighted_loss(self._network, batch, self._settings)
        (loss / len(rows)).backward()  # type: ignore[no-untyped-call]
        gradient = self._gradient()
        for weight in self._private.values():
            if weight.grad is not None:
                weight.grad.mul_(len(rows) / self._settings.batch_size)
        self.optimisers.step(learning_rate)
        return gradient, loss.item()

    def _gradient(self) -> npt.NDArray[np.floating]:
        dtype = np.float64 if self._network.dtype == torch.float64 else np.float32
        gradient: npt.NDArray[np.floating] = np.zeros(self._shared.n_params, dtype=dtype)
        sparse = {id(layer.weight): layer for layer in self._network.sparse_layers}
        start = 0
        for name, size in zip(self._shared.names, self._shared.lengths, strict=True):
            weight = self._weights.get(name)
            part = gradient[start : start + size]
            start += size
            if weight is None:  # normalisation, which is not trained
                continue
            if id(weight) in sparse:
                table = part.reshape(tuple(weight.shape))
                for first, last, block in sparse[id(weight)].gradient_blocks():
                    table[first:last] = block.numpy()
            elif weight.grad is not None:
                part[:] = weight.grad.numpy().reshape(-1)
        return gradient


class LocalSteps:
    """Passes over one owner's compounds: the local part of FedAvg and its relatives, or training alone."""

    def __init__(self, network: MultitaskNetwork, shared: Layout, settings: MultitaskSettings, method: Method) -> None:
        """Shared: the tensors that FedProx and SCAFFOLD correct."""
        self._network, self._shared, self._settings, self._method = network, shared, settings, method
        self._is_corrected = method.algorithm in (Algorithm.FEDPROX, Algorithm.SCAFFOLD)
        weights = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
        self._corrected = [weights[name] for name in shared.names if name in weights]
        self.optimisers = Optimisers(
            weights, () if self._is_corrected else network.sparse_layers, settings.optimiser, settings.learning_rate
        )

    def run(
        self, rows: MultitaskRows, rng: np.random.Generator, learning_rate: float, tilt: Vector
    ) -> tuple[float, npt.NDArray[np.float32]]:
        """The weighted loss summed over all passes, and the mean uncorrected gradient of what is shared.

        Args:
            rows: The training compounds.
            rng: Draws the minibatches; dropout draws from PyTorch's generator.
            learning_rate: Of this round.
            tilt: (n_shared,) what SCAFFOLD adds to a gradient; empty else.

        Returns:
            The loss, and (n_shared,) float32 with SCAFFOLD, else empty.
        """
        self._network.train()
        is_scaffold = self._method.algorithm is Algorithm.SCAFFOLD
        correction = Correction(self._method, self._corrected, self._tensors(tilt) if is_scaffold else [])
        total = 0.0
        for _ in range(self._settings.local_epochs):
            for chosen in batches(rng.permutation(len(rows)), self._settings.batch_size):
                total += self._backward(rows.take(chosen)) * chosen.size
                if self._is_corrected:
                    for layer in self._network.sparse_layers:
                        layer.fill_gradient()
                    correction.apply()
                self.optimisers.step(learning_rate)
        self._network.zero_grad()  # gradients need no memory until the next round
        return total, self._vector(correction.mean_gradients()) if is_scaffold else np.zeros(0, dtype=np.float32)

    def _backward(self, rows: MultitaskRows) -> float:
        """Gradients of the mean loss per compound of a minibatch; gives that mean."""
        self._network.zero_grad()
        batch = MultitaskBatch.of(rows.bits, rows.labels, self._network.dtype)
        loss = weighted_loss(self._network, batch, self._settings) / len(rows)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    def _tensors(self, vector: Vector) -> list[Tensor]:
        """One tensor per corrected weight, from a vector in the shared layout's order."""
        ends = np.cumsum(self._shared.lengths).tolist()
        places = zip(ends, self._shared.lengths, self._shared.shapes, self._shared.trained, strict=True)
        return [
            torch.from_numpy(vector[end - size : end].astype(np.float32)).view(shape)
            for end, size, shape, is_trained in places
            if is_trained
        ]

    def _vector(self, tensors: Sequence[Tensor]) -> npt.NDArray[np.float32]:
        """The reverse of `_tensors`; zero for what is not trained."""
        vector = np.zeros(self._shared.n_params, dtype=np.float32)
        vector[self._shared.trained_mask] = torch.cat([tensor.detach().reshape(-1) for tensor in tensors]).numpy()
        return vector
