"""The tasks of a bundle, and the settings of its network, as canonical JSON and back."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from pharmonia.base.canonical import Json, canonical_json
from pharmonia.base.errors import BundleError, OptionError
from pharmonia.data.assays import AssayType, Direction
from pharmonia.data.tasks import TaskKind
from pharmonia.learn.multitask_settings import MultitaskSettings
from pharmonia.learn.settings import Optimiser
from pharmonia.nn.heads_names import HeadName


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleTask:
    """One task of a bundle: what it predicts, and where the network has it.

    Args:
        task_id: Names it among the partner's tasks.
        assay_id: The partner's own identifier of its assay.
        kind: Whether it predicts a probability of being active, or a value.
        assay_type: The type whose rules it follows.
        catalogue_id: The catalogue's task that it is; None for the partner's own.
        unit: Of the assay's values; empty where none was stated.
        threshold: Where values were cut; None for regression and for assays of two outcomes.
        direction: Which values are active ones; None where nobody recorded it.
        head: The head that has it.
        column: Of that head.

    Raises:
        OptionError: No identifier, a threshold that is no number, or a head of another kind.
    """

    task_id: str
    assay_id: str
    kind: TaskKind
    assay_type: AssayType
    catalogue_id: str | None
    unit: str
    threshold: float | None
    direction: Direction | None
    head: HeadName
    column: int

    def __post_init__(self) -> None:
        wanted = HeadName.of(self.head.kind, is_catalogue=self.catalogue_id is not None)
        if not self.task_id or self.column < 0 or self.head is not wanted or self.head.kind.value != self.kind.value:
            raise OptionError(f"task {self.task_id!r} cannot be column {self.column} of the {self.head.value} head")
        if self.threshold is not None and not np.isfinite(self.threshold):
            raise OptionError(f"task {self.task_id!r}: the threshold {self.threshold} is no number")

    def meaning(self, *, by_size: bool) -> str:
        """What a prediction says, in words.

        Args:
            by_size: Whether its assay's values are cut by their size where no direction is stated, as a screen's are.
        """
        unit = f" {self.unit}" if self.unit else ""
        if self.kind is TaskKind.REGRESSION:
            return f"the value in{unit}" if unit else "the value, in a unit that was not stated"
        if self.threshold is None:
            return "the probability of being active"
        match self.direction:
            case None:
                beyond = "(direction not recorded)"
            case Direction.LOW:
                beyond = "or below"
            case Direction.HIGH:
                beyond = "or above"
            case Direction.EITHER:
                beyond = "or above, in size" if by_size else "or above"
        return f"the probability of {self.threshold:g}{unit} {beyond}"


def encode_bundle_tasks(tasks: Sequence[BundleTask]) -> bytes:
    """The tasks as canonical JSON, in order."""
    return canonical_json([{one.name: getattr(task, one.name) for one in fields(BundleTask)} for task in tasks])


def decode_bundle_tasks(content: bytes, where: str) -> tuple[BundleTask, ...]:
    """The tasks of `encode_bundle_tasks`.

    Raises:
        BundleError: The bytes are not tasks.
    """
    try:
        return tuple(_task(record) for record in json.loads(content))
    except (ValueError, KeyError, TypeError, OptionError) as error:
        raise BundleError(f"{where} does not hold tasks: {error}") from error


def encode_settings(settings: MultitaskSettings) -> bytes:
    """The settings as canonical JSON."""
    values: dict[str, Json] = {one.name: getattr(settings, one.name) for one in fields(MultitaskSettings)}
    return canonical_json({name: list(value) if isinstance(value, tuple) else value for name, value in values.items()})


def decode_settings(content: bytes, where: str) -> MultitaskSettings:
    """The settings of `encode_settings`.

    Raises:
        BundleError: The bytes are not settings of this version.
    """
    try:
        record = json.loads(content)
        if set(record) != {one.name for one in fields(MultitaskSettings)}:
            raise ValueError("its fields are others")
        return MultitaskSettings(
            n_bits=int(record["n_bits"]),
            trunk=tuple(int(width) for width in record["trunk"]),
            head=tuple(int(width) for width in record["head"]),
            dropout=float(record["dropout"]),
            regression_weight=float(record["regression_weight"]),
            catalogue_classification=tuple(str(name) for name in record["catalogue_classification"]),
            catalogue_regression=tuple(str(name) for name in record["catalogue_regression"]),
            optimiser=Optimiser(record["optimiser"]),
            learning_rate=float(record["learning_rate"]),
            drop_round=int(record["drop_round"]),
            batch_size=int(record["batch_size"]),
            local_epochs=int(record["local_epochs"]),
        )
    except (ValueError, KeyError, TypeError, OptionError) as error:
        raise BundleError(f"{where} does not hold settings of a network: {error}") from error


def _task(record: Mapping[str, object]) -> BundleTask:
    catalogue, threshold, direction = record["catalogue_id"], record["threshold"], record["direction"]
    return BundleTask(
        task_id=str(record["task_id"]),
        assay_id=str(record["assay_id"]),
        kind=TaskKind(str(record["kind"])),
        assay_type=AssayType(str(record["assay_type"])),
        catalogue_id=None if catalogue is None else str(catalogue),
        unit=str(record["unit"]),
        threshold=None if threshold is None else float(str(threshold)),
        direction=None if direction is None else Direction(str(direction)),
        head=HeadName(str(record["head"])),
        column=int(str(record["column"])),
    )
