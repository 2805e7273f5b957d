"""What a bundle holds, and its network; no structure, no key and no identifier of a compound is in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import Vector, frozen_copy
from pharmonia.base.errors import BundleError, OptionError
from pharmonia.data.recipe import Recipe
from pharmonia.evaluate.conformal import Calibration
from pharmonia.evaluate.conformal_regression import ResidualCalibration
from pharmonia.evaluate.modelcard import ModelCard
from pharmonia.learn.multitask_network import make_network, private_layout, shared_layout, trained_network
from pharmonia.learn.multitask_settings import MultitaskSettings
from pharmonia.nn.heads_names import HeadName
from pharmonia.nn.multitask import MultitaskNetwork
from pharmonia.nn.parameters import Layout
from pharmonia.run.bundle_tasks import BundleTask
from pharmonia.run.predict_domain import Domain

Weights = Mapping[str, npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BundleContents:
    """A trained model as a partner takes it home.

    Args:
        settings: Of the network.
        tasks: What it predicts.
        recipe: How compounds become its columns; it holds a commitment to the key, not the key.
        weights: The network's tensors by their names, float32.
        classification: Of the validation fold, by task; tasks of regression have none.
        regression: The same for regression.
        domain: What compounds it is for; None where that is not known.
        card: What it is and how well it did.

    Raises:
        OptionError: Parts that do not belong together.
    """

    settings: MultitaskSettings
    tasks: tuple[BundleTask, ...]
    recipe: Recipe
    weights: Weights
    classification: Calibration
    regression: ResidualCalibration
    domain: Domain | None
    card: ModelCard

    def __post_init__(self) -> None:
        frozen = {name: frozen_copy(array.astype(np.float32, copy=False)) for name, array in self.weights.items()}
        object.__setattr__(self, "weights", MappingProxyType(frozen))
        names = tuple(task.task_id for task in self.tasks)
        if not names or len(set(names)) != len(names) or names != tuple(task.task_id for task in self.card.tasks):
            raise OptionError("a bundle needs tasks, each once, and its card the same ones")
        counts = {self.classification.n_tasks, self.regression.n_tasks}
        if counts != {len(names)}:
            raise OptionError(f"expected calibrations of {len(names)} tasks, got {sorted(counts)}")
        widths = {self.settings.n_bits, self.recipe.profile.ecfp.n_bits}
        if len(widths) != 1:
            raise OptionError(f"network and recipe have different numbers of columns: {sorted(widths)}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bundle:
    """A bundle that was read, every file verified.

    Args:
        contents: What it holds.
        digest: SHA-256 of its manifest's body; names exactly this bundle.
    """

    contents: BundleContents
    digest: str


def split_weights(
    settings: MultitaskSettings, sizes: Mapping[HeadName, int], shared: Vector, private: Vector
) -> Weights:
    """The tensors of a trained model by name.

    Args:
        settings: Of the run.
        sizes: Columns of each head of the partner.
        shared: The shared vector, or with SCAFFOLD its first half and the rest unread.
        private: The partner's private tensors.

    Raises:
        OptionError: Vectors of another network.
    """
    network = make_network(settings, sizes, seed=0)
    layouts = (shared_layout(network), private_layout(network))
    if shared.size < layouts[0].n_params or private.size != layouts[1].n_params:
        raise OptionError(
            f"expected {layouts[0].n_params} shared and {layouts[1].n_params} private parameters, got {shared.size} "
            f"and {private.size}"
        )
    return {**_named(layouts[0], shared), **_named(layouts[1], private)}


def network_of(contents: BundleContents, where: str) -> MultitaskNetwork:
    """The network of a bundle, ready to predict.

    Raises:
        BundleError: Its tensors are not those that its settings and tasks need; names one.
    """
    weights = contents.weights
    sizes = head_sizes(weights)
    for task in contents.tasks:
        if task.column >= sizes.get(task.head, 0):
            raise BundleError(f"{where}: task {task.task_id!r} is no column of the {task.head.value} head")
    network = make_network(contents.settings, sizes, seed=0)
    layouts = (shared_layout(network), private_layout(network))
    wanted = {name: shape for layout in layouts for name, shape in zip(layout.names, layout.shapes, strict=True)}
    for name in sorted({*wanted, *weights}):
        found = weights[name].shape if name in weights else None
        if found != wanted.get(name):
            raise BundleError(f"{where}: the tensor {name} should have the shape {wanted.get(name)}, found {found}")
    shared, private = (_joined(layout, weights) for layout in layouts)
    return trained_network(contents.settings, sizes, shared, private)


def head_sizes(weights: Weights) -> dict[HeadName, int]:
    """Columns of each head that there is."""
    found = {name: weights.get(f"heads.{name.value}.bias") for name in HeadName}
    return {name: bias.size for name, bias in found.items() if bias is not None}


def _named(layout: Layout, vector: Vector) -> dict[str, npt.NDArray[np.float32]]:
    stops = np.cumsum(layout.lengths).tolist()
    return {
        name: vector[stop - size : stop].reshape(shape).astype(np.float32)
        for name, shape, size, stop in zip(layout.names, layout.shapes, layout.lengths, stops, strict=True)
    }


def _joined(layout: Layout, weights: Weights) -> Vector:
    vector = np.empty(layout.n_params)
    start = 0
    for name, size in zip(layout.names, layout.lengths, strict=True):
        vector[start : start + size] = weights[name].reshape(-1)
        start += size
    return vector
