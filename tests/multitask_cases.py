"""Small data of many tasks for tests, and what a coordinator does with those who train on them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pharmonia.base.arrays import Vector
from pharmonia.chem.ecfp_matrix import CsrMatrix
from pharmonia.data.assays import AssayType
from pharmonia.data.tasks import Labels, PreparedTasks, Task
from pharmonia.data.tasks import TaskKind as DataKind
from pharmonia.learn.contributions import Contribution, federated_average, unpack
from pharmonia.learn.messages import Broadcast
from pharmonia.learn.multitask import MultitaskLearner
from pharmonia.learn.multitask_data import PartnerTasks, partner_tasks
from pharmonia.learn.multitask_network import initial_parameters, make_network
from pharmonia.learn.multitask_settings import MultitaskSettings
from pharmonia.learn.server import Descent
from pharmonia.learn.settings import Method, Optimiser

N_BITS = 64
PLAIN = MultitaskSettings(
    n_bits=N_BITS,
    trunk=(12, 10),
    head=(6,),
    dropout=0.0,
    regression_weight=0.4,
    catalogue_classification=("herg",),
    catalogue_regression=("logd", "ppb"),
    optimiser=Optimiser.SGD,
    learning_rate=0.05,
    drop_round=10,
    batch_size=24,
    local_epochs=2,
)
ONE_PASS = replace(PLAIN, local_epochs=1)  # a round, which is all that plans take with FedSGD
FEDSGD = Method.parse("fedsgd")
KINDS = (DataKind.CLASSIFICATION, DataKind.REGRESSION)
CATALOGUE = {"herg": DataKind.CLASSIFICATION, "logd": DataKind.REGRESSION, "ppb": DataKind.REGRESSION}


def task(name: str, kind: DataKind, catalogue_id: str | None = None) -> Task:
    weight = 0.5 if name.endswith("1") else 1.0
    return Task(
        task_id=name, assay_id=name, kind=kind, assay_type=AssayType.OTHER, weight=weight, aggregation_weight=1.0,
        auxiliary=False, censored_weight=1.0 if kind is DataKind.CLASSIFICATION else 0.3, catalogue_id=catalogue_id,
    )  # fmt: skip


def prepared(rng: np.random.Generator, owner: str, n_rows: int, catalogue: Sequence[str]) -> PreparedTasks:
    """Compounds of one partner with two tasks of each kind of its own, and some of the catalogue's."""
    tasks = [task(f"{owner}-{kind.value}-{i}", kind) for i in range(2) for kind in KINDS]
    tasks += [task(f"{owner}-{name}", CATALOGUE[name], name) for name in catalogue]
    known = rng.random((n_rows, len(tasks))) < 0.4
    known[:, 0] = True
    compound, index = np.nonzero(known)
    is_class = np.array([one.kind is DataKind.CLASSIFICATION for one in tasks])[index]
    value = np.where(is_class, rng.integers(0, 2, index.size), rng.normal(6, 2, index.size))
    censor = np.where(is_class, 0, rng.choice([-1, 0, 0, 0, 1], index.size))
    table = rng.random((n_rows, N_BITS)) < 0.15
    return PreparedTasks(
        recipe_digest="0" * 64,
        features=CsrMatrix(
            indptr=np.concatenate(([0], np.cumsum(table.sum(axis=1)))).astype(np.int64),
            indices=np.nonzero(table)[1].astype(np.int32),
            n_columns=N_BITS,
        ),
        fold=(np.arange(n_rows) % 4 == 3).astype(np.int8),
        n_folds=2,
        tasks=tuple(tasks),
        labels=Labels(
            compound=compound.astype(np.int32), task=index.astype(np.int32), value=value.astype(np.float32),
            censor=censor.astype(np.int8),
        ),
    )  # fmt: skip


def partners(n: int) -> list[PreparedTasks]:
    """Partners of different size; only some measure what others measure too."""
    rng = np.random.default_rng(n)
    held = [("herg", "logd"), ("logd",), (), ("herg", "logd"), ("herg",)]
    return [prepared(rng, f"p{i}", 16 + 8 * i, held[i]) for i in range(n)]


def stacked(parts: Sequence[PreparedTasks]) -> PreparedTasks:
    """What one owner of everybody's data would have: all compounds, all tasks."""
    row_shift = np.cumsum([0, *(part.n_compounds for part in parts)]).tolist()
    task_shift = np.cumsum([0, *(len(part.tasks) for part in parts)]).tolist()
    bit_shift = np.cumsum([0, *(part.features.indices.size for part in parts)]).tolist()
    pointers = [part.features.indptr[1:] + shift for part, shift in zip(parts, bit_shift, strict=False)]
    compounds = [part.labels.compound + shift for part, shift in zip(parts, row_shift, strict=False)]
    tasks = [part.labels.task + shift for part, shift in zip(parts, task_shift, strict=False)]
    return PreparedTasks(
        recipe_digest="0" * 64,
        features=CsrMatrix(
            indptr=np.concatenate([[0], *pointers]).astype(np.int64),
            indices=np.concatenate([part.features.indices for part in parts]),
            n_columns=N_BITS,
        ),
        fold=np.concatenate([part.fold for part in parts]),
        n_folds=2,
        tasks=tuple(one for part in parts for one in part.tasks),
        labels=Labels(
            compound=np.concatenate(compounds).astype(np.int32),
            task=np.concatenate(tasks).astype(np.int32),
            value=np.concatenate([part.labels.value for part in parts]),
            censor=np.concatenate([part.labels.censor for part in parts]),
        ),
    )


def data_of(part: PreparedTasks, settings: MultitaskSettings = PLAIN, name: str = "a") -> PartnerTasks:
    return partner_tasks(name, part, settings, train_folds=(0,), valid_folds=(1,))


def server(settings: MultitaskSettings) -> Descent:
    """The server's optimiser under those settings."""
    return Descent(optimiser=settings.optimiser, learning_rate=settings.learning_rate)


def broadcast(parameters: Vector, round_index: int, *, train: bool = True, best_round: int = -1,
              step: int = 0, n_steps: int = 1) -> Broadcast:  # fmt: skip
    """What a learner is sent in one step of one round."""
    return Broadcast(
        sum_index=0, magnitudes=False, round_index=round_index, step=step, n_steps=n_steps, train=train, save=False,
        best_round=best_round, parameters=parameters,
    )  # fmt: skip


def start(learners: Sequence[MultitaskLearner], settings: MultitaskSettings, method: Method) -> Vector:
    """What the coordinator does before round 0."""
    given = [learner.statistics() for learner in learners]
    n_rows = sum(one.weight for one in given)
    return initial_parameters(make_network(settings, {}, 1), settings, method, federated_average(given), n_rows)


def aggregate(given: Sequence[Contribution]) -> tuple[Vector, float]:
    """The change of the shared parameters, and the training error."""
    total = unpack(federated_average(given), sum(one.weight for one in given))
    return total.change, total.totals.train_error
