"""A partner's compounds and labels in the order in which a network of many tasks reads them."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from pharmonia.base.arrays import frozen_copy
from pharmonia.base.errors import PartitionError, UpdateError
from pharmonia.data.tasks import PreparedTasks
from pharmonia.learn.multitask_settings import MultitaskSettings
from pharmonia.nn.heads import LabelRows
from pharmonia.nn.heads_names import HeadName, TaskKind
from pharmonia.nn.multitask import MultitaskNetwork
from pharmonia.nn.sparse import BitRows

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MultitaskRows:
    """Compounds and their labels by head.

    Args:
        bits: The compounds.
        labels: One entry for each head that the partner has tasks of, of as many rows.

    Raises:
        UpdateError: Labels of another number of compounds.
    """

    bits: BitRows
    labels: Mapping[HeadName, LabelRows]

    def __post_init__(self) -> None:
        if any(len(part) != len(self.bits) for part in self.labels.values()):
            raise UpdateError("labels and compounds differ in number")
        object.__setattr__(self, "labels", MappingProxyType(dict(self.labels)))

    def __len__(self) -> int:
        """Number of compounds."""
        return len(self.bits)

    def take(self, rows: Indices) -> "MultitaskRows":
        """These compounds with their labels, in this order."""
        labels = {name: part.take(rows) for name, part in self.labels.items()}
        return MultitaskRows(bits=self.bits.take(rows), labels=labels)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TaskPlaces:
    """Where each of a partner's tasks is in the network.

    Args:
        head: (n_tasks,) int64, index in the order of `HeadName`.
        column: (n_tasks,) int32, of that head.
        sizes: Columns of each head that there is, the catalogue's included.
    """

    head: Indices
    column: npt.NDArray[np.int32]
    sizes: Mapping[HeadName, int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "head", frozen_copy(self.head))
        object.__setattr__(self, "column", frozen_copy(self.column))
        object.__setattr__(self, "sizes", MappingProxyType(dict(self.sizes)))

    def tasks_of(self, name: HeadName) -> npt.NDArray[np.bool_]:
        """(n_tasks,) whether a task belongs to a head."""
        inside: npt.NDArray[np.bool_] = self.head == list(HeadName).index(name)
        return inside


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PartnerTasks:
    """What one partner trains on.

    Args:
        name: The partner.
        places: Of its tasks.
        importance: (n_columns,) float32 by head, of each column in the validation error; 0 to leave it out.
        train: Compounds to learn from; each has a label.
        valid: Compounds to stop and choose by; one at least has a label that counts.

    Raises:
        PartitionError: No compound to train on, or none to validate on; names the partner and the remedy.
    """

    name: str
    places: TaskPlaces
    importance: Mapping[HeadName, npt.NDArray[np.float32]]
    train: MultitaskRows
    valid: MultitaskRows

    def __post_init__(self) -> None:
        counts = any(self.importance[head][part.column].any() for head, part in self.valid.labels.items())
        for there, what in ((len(self.train) > 0, "training"), (counts, "validation")):
            if not there:
                raise PartitionError(
                    f"{self.name} needs at least one label in its {what} folds; choose other folds, prepare more "
                    "results, or let the others train without it"
                )
        frozen = {name: frozen_copy(array) for name, array in self.importance.items()}
        object.__setattr__(self, "importance", MappingProxyType(frozen))


def partner_tasks(
    name: str,
    prepared: PreparedTasks,
    settings: MultitaskSettings,
    *,
    train_folds: tuple[int, ...],
    valid_folds: tuple[int, ...],
) -> PartnerTasks:
    """A partner's prepared data as its network reads them.

    The validation error is over the tasks that are not auxiliary, each with importance 1, whether or not their scores
    will count: that may depend on test labels, and nothing is chosen by those. A partner whose validation labels are
    all of auxiliary tasks validates on these.

    Raises:
        UpdateError: Features of another width than the settings', or a catalogue task that they do not have.
        PartitionError: No label in the training or in the validation folds.
    """
    if prepared.features.n_columns != settings.n_bits:
        raise UpdateError(f"{name}: features have {prepared.features.n_columns} columns, the plan {settings.n_bits}")
    places = task_places(prepared, settings)
    valid = prepared.in_folds(valid_folds)
    return PartnerTasks(
        name=name,
        places=places,
        importance=_importance(prepared, places, valid),
        train=rows_of(prepared, places, prepared.in_folds(train_folds)),
        valid=rows_of(prepared, places, valid),
    )


def _importance(prepared: PreparedTasks, places: TaskPlaces, valid: Indices) -> dict[HeadName, npt.NDArray[np.float32]]:
    """Of each column in the validation error; `valid` are the labels of the validation folds."""
    counts = ~np.array([task.auxiliary for task in prepared.tasks], dtype=np.bool_)
    if not counts[prepared.labels.task[valid]].any():
        counts[:] = True
    importance = {}
    for head, size in places.sizes.items():
        importance[head] = np.zeros(size, dtype=np.float32)
        importance[head][places.column[places.tasks_of(head) & counts]] = 1.0
    return importance


def task_places(prepared: PreparedTasks, settings: MultitaskSettings) -> TaskPlaces:
    """Where each task is: a partner's own in their order, the catalogue's where the plan says.

    Raises:
        UpdateError: A catalogue task that the plan does not have.
    """
    names, columns = [], []
    sizes = dict(settings.catalogue_sizes)
    for task in prepared.tasks:
        kind = TaskKind(task.kind.value)
        name = HeadName.of(kind, is_catalogue=task.catalogue_id is not None)
        if task.catalogue_id is None:
            columns.append(sizes.get(name, 0))
            sizes[name] = columns[-1] + 1
        elif task.catalogue_id in settings.catalogue(kind):
            columns.append(settings.catalogue(kind).index(task.catalogue_id))
        else:
            raise UpdateError(f"task {task.task_id!r}: the plan has no catalogue task {task.catalogue_id!r}")
        names.append(name)
    order = list(HeadName)
    return TaskPlaces(
        head=np.array([order.index(name) for name in names], dtype=np.int64),
        column=np.array(columns, dtype=np.int32),
        sizes=sizes,
    )


def rows_of(prepared: PreparedTasks, places: TaskPlaces, chosen: Indices) -> MultitaskRows:
    """The compounds that have one of the chosen labels, with those labels.

    Args:
        prepared: The partner's data.
        places: Of its tasks.
        chosen: Indices of labels, ascending.
    """
    labels, features = prepared.labels, prepared.features
    compounds, row = _numbered(labels.compound[chosen])
    all_bits = BitRows(indptr=features.indptr, indices=features.indices, n_columns=features.n_columns)
    task_of = labels.task[chosen]
    weight = np.array([task.weight for task in prepared.tasks], dtype=np.float32)
    censored = np.array([task.censored_weight for task in prepared.tasks], dtype=np.float32)
    parts = {}
    for name, size in places.sizes.items():
        inside = places.tasks_of(name)[task_of]
        mine, task = chosen[inside], task_of[inside]
        censor = labels.censor[mine]
        weights = weight[task]
        np.multiply(weights, censored[task], out=weights, where=censor != 0)
        parts[name] = LabelRows(
            indptr=np.concatenate(([0], np.cumsum(np.bincount(row[inside], minlength=compounds.size)))),
            column=places.column[task],
            value=labels.value[mine],
            censor=censor,
            weight=weights,
            n_columns=size,
        )
    return MultitaskRows(bits=all_bits.take(compounds), labels=parts)


def _numbered(sorted_values: npt.NDArray[np.int32]) -> tuple[Indices, npt.NDArray[np.int32]]:
    """The distinct values, and for each value which of them it is; as `np.unique`, but nothing is sorted again."""
    is_first = np.ones(sorted_values.size, dtype=np.bool_)
    np.not_equal(sorted_values[1:], sorted_values[:-1], out=is_first[1:])
    return sorted_values[is_first].astype(np.int64), np.cumsum(is_first, dtype=np.int32) - np.int32(1)


def scattered(
    places: TaskPlaces, prepared: PreparedTasks, chosen: Indices, found: Mapping[HeadName, npt.NDArray[np.float32]]
) -> npt.NDArray[np.float32]:
    """(n_chosen,) predictions of `MultitaskNetwork.predict_pairs` on `rows_of`, in the order of the chosen labels."""
    result = np.empty(chosen.size, dtype=np.float32)
    for name, values in found.items():
        result[places.tasks_of(name)[prepared.labels.task[chosen]]] = values
    return result


def predict_labels(
    network: MultitaskNetwork, prepared: PreparedTasks, places: TaskPlaces, chosen: Indices
) -> npt.NDArray[np.float32]:
    """(n_chosen,) what a network predicts for labelled pairs: probabilities, or values in the unit of the assay.

    Args:
        network: With the partner's heads in it.
        prepared: The partner's data.
        places: Of its tasks.
        chosen: Indices of labels, ascending.
    """
    rows = rows_of(prepared, places, chosen)
    return scattered(places, prepared, chosen, network.predict_pairs(rows.bits, rows.labels))
