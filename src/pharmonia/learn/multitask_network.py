"""The network of many tasks of a run: how it is made, which part of it is shared, and where it starts."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pharmonia.base.arrays import Vector
from pharmonia.base.errors import UpdateError
from pharmonia.learn.learner import Tensors
from pharmonia.learn.multitask_settings import MultitaskSettings
from pharmonia.learn.settings import Algorithm, Method
from pharmonia.nn.heads import LabelRows, TaskHead
from pharmonia.nn.heads_names import HeadName, TaskKind
from pharmonia.nn.multitask import MultitaskBatch, MultitaskNetwork, Trunk
from pharmonia.nn.parameters import Layout, load_vector, to_vector

N_SUMS = 3  # of a column's labels: their number, sum and sum of squares
_LEAST_SPREAD = 1e-6
_SHARED = ("trunk.", *(f"heads.{name.value}." for name in HeadName if name.is_catalogue))


def make_network(settings: MultitaskSettings, sizes: Mapping[HeadName, int], seed: int) -> MultitaskNetwork:
    """The network at its initialisation under a seed; what is shared does not depend on a partner's own tasks.

    Args:
        settings: Of the run.
        sizes: Columns of each head; empty for the shared part alone, as the coordinator makes it.
        seed: Of the run.
    """
    wanted = {**settings.catalogue_sizes, **sizes}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        trunk = Trunk(settings.n_bits, settings.trunk, settings.dropout)
        return MultitaskNetwork(trunk, _heads(settings, wanted, trunk.width))


def local_network(
    settings: MultitaskSettings, sizes: Mapping[HeadName, int], federated: MultitaskNetwork, seed: int
) -> MultitaskNetwork:
    """A trunk of the partner's own beside the frozen federated one, with new heads on both."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        trunk = Trunk(settings.n_bits, settings.trunk, settings.dropout)
        heads = _heads(settings, sizes, trunk.width + federated.trunk.width)
        return MultitaskNetwork(trunk, heads, federated.trunk)


def _heads(settings: MultitaskSettings, sizes: Mapping[HeadName, int], width: int) -> dict[HeadName, TaskHead]:
    """The catalogue's first, so that the shared weights draw their numbers first; they have no layers of their own."""
    order = sorted(sizes, key=lambda name: (not name.is_catalogue, name.value))
    return {
        name: TaskHead(
            name.kind, width, () if name.is_catalogue else settings.head, sizes[name], settings.dropout
        )
        for name in order
    }  # fmt: skip


def shared_layout(network: MultitaskNetwork) -> Layout:
    """The tensors that the partners share: trunk and catalogue."""
    return Layout.of(network, lambda name: name.startswith(_SHARED))


def private_layout(network: MultitaskNetwork) -> Layout:
    """The tensors that each partner keeps to itself: its heads, and how its values are normalised."""
    return Layout.of(network, lambda name: not name.startswith(_SHARED))


def label_sums(labels: LabelRows) -> Vector:
    """(3, n_columns) number, sum and sum of squares of each column's labels that are values and not bounds."""
    exact = labels.censor == 0
    column, value = labels.column[exact], labels.value[exact].astype(np.float64)
    weights = (np.ones_like(value), value, np.square(value))
    return np.array([np.bincount(column, weight, labels.n_columns) for weight in weights])


def statistics_length(settings: MultitaskSettings) -> int:
    """Length of the vector that partners sum before round 0."""
    return 1 + N_SUMS * sum(settings.catalogue_sizes.values())


def statistics_tensors(settings: MultitaskSettings) -> Tensors:
    """Names and lengths of what partners sum before round 0."""
    return ("statistics",), (statistics_length(settings),)


def statistics(settings: MultitaskSettings, labels: Mapping[HeadName, LabelRows], n_rows: int) -> Vector:
    """(statistics_length,) labels per compound, and `label_sums` of the catalogue's columns per compound.

    Summed over the partners with their compounds as weights, it tells how the catalogue's values are normalised.
    """
    n_labels = float(sum(part.column.size for part in labels.values()))
    sums = [np.zeros((N_SUMS, size)) for size in settings.catalogue_sizes.values()]
    for place, name in enumerate(settings.catalogue_sizes):
        if name in labels:
            sums[place] = label_sums(labels[name])
    return np.concatenate([[n_labels], *(part.reshape(-1) for part in sums)]) / n_rows


def initial_parameters(
    network: MultitaskNetwork, settings: MultitaskSettings, method: Method, mean: Vector, n_rows: int
) -> Vector:
    """The shared vector before round 0; the catalogue's heads start at the mean of their labels.

    Args:
        network: Any partner's, or the coordinator's.
        settings: Of the run.
        method: Of the run.
        mean: (statistics_length,) over all partners.
        n_rows: Compounds of all partners.

    Returns:
        (n_shared,) float64; with SCAFFOLD followed by as many zeros, its control variate.

    Raises:
        UpdateError: A mean of another length.
    """
    if mean.shape != (statistics_length(settings),):
        raise UpdateError(f"expected {statistics_length(settings)} statistics, got {mean.shape}")
    start = 1
    for name, size in settings.catalogue_sizes.items():
        stop = start + N_SUMS * size
        centre_head(network.head(name), mean[start:stop].reshape(N_SUMS, size) * n_rows)
        start = stop
    parameters = to_vector(network, shared_layout(network))
    if method.algorithm is Algorithm.SCAFFOLD:
        return np.concatenate([parameters, np.zeros_like(parameters)])
    return parameters


@torch.no_grad()
def centre_head(head: TaskHead, sums: Vector) -> None:
    """Start each task at its mean label: the log odds of a positive, or centre and spread of its values.

    Without it a network spends its first epochs learning means. Tasks without labels start at even odds, or at
    centre 0 and spread 1.

    Args:
        head: To be set.
        sums: (3, n_columns) as `label_sums` gives them.
    """
    n, total, squares = sums
    if head.kind is TaskKind.CLASSIFICATION:
        head.bias.copy_(_tensor(np.log((total + 1.0) / (np.maximum(n - total, 0.0) + 1.0))))
        return
    mean = total / np.maximum(n, 1.0)
    spread = np.sqrt(np.maximum(squares / np.maximum(n, 1.0) - np.square(mean), 0.0))
    head.centre.copy_(_tensor(mean))
    head.spread.copy_(_tensor(np.where(spread > _LEAST_SPREAD * np.maximum(np.abs(mean), 1.0), spread, 1.0)))


def _tensor(values: npt.NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))


def weighted_loss(network: MultitaskNetwork, batch: MultitaskBatch, settings: MultitaskSettings) -> Tensor:
    """Sum over the labels of a minibatch of weight times loss, classification and regression as the settings mix."""
    total = torch.zeros((), dtype=network.dtype)
    for name, losses in network.losses(batch).items():
        total = total + settings.loss_weight(name.kind) * (losses * batch.heads[name].weight).sum()
    return total


def trained_network(
    settings: MultitaskSettings, sizes: Mapping[HeadName, int], parameters: Vector, private_part: Vector
) -> MultitaskNetwork:
    """The network with a trained model in it.

    Args:
        settings: Of the run.
        sizes: Columns of each head of the partner.
        parameters: The shared vector, or with SCAFFOLD its first half and the rest unread.
        private_part: The partner's private tensors.
    """
    network = make_network(settings, sizes, seed=0)
    layout = shared_layout(network)
    load_vector(network, layout, parameters[: layout.n_params])
    load_vector(network, private_layout(network), private_part)
    return network.eval()
