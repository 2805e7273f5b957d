"""Small runs of partners in one process, for tests."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier

import numpy as np

from interaction_cases import shared_out, small_encoded
from pharmonia.base.arrays import Vector
from pharmonia.bench.simulation import interaction_learners, simulate
from pharmonia.data.partner import PartnerDataset, partner_dataset
from pharmonia.data.splits import Part, SplitKind, split_rows
from pharmonia.learn.algorithms import Schedule
from pharmonia.learn.messages import Broadcast
from pharmonia.learn.network import initial_parameters, make_network, shared_layout
from pharmonia.learn.settings import Aggregation, LocalSettings, Method, Optimiser
from pharmonia.nn.choices import Model, Norm
from pharmonia.run.coordinator import Coordinator
from pharmonia.run.records import Performance, TrainedModel, TrainingPlan
from pharmonia.run.store import RunStatus, RunStore

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
OFTEN, NEVER = Performance(checkpoint_every_s=0.0), Performance(checkpoint_every_s=1e9)


def local_settings(optimiser: Optimiser = Optimiser.ADAM, norm: Norm = Norm.BATCH) -> LocalSettings:
    return LocalSettings(
        model=Model.GIN, norm=norm, optimiser=optimiser, learning_rate=1e-3, batch_size=16, local_epochs=1
    )


def partner_datasets(n_partners: int) -> list[PartnerDataset]:
    """Rows of a small data set by target, split at random."""
    encoded = small_encoded()
    partition = shared_out(encoded.interactions, "target", n_partners, np.random.default_rng(1))
    split = split_rows(encoded.interactions, SplitKind.RANDOM, partition, np.random.default_rng(2))
    train, valid = split.rows(Part.TRAIN), split.rows(Part.VALID)
    return [
        partner_dataset(
            encoded,
            name,
            train=train[partition.owner[train] == index],
            valid=valid[partition.owner[valid] == index],
        )
        for index, name in enumerate(partition.names)
    ]


def pooled_dataset(n_partners: int) -> PartnerDataset:
    """All rows of the same partners in one place."""
    encoded = small_encoded()
    partition = shared_out(encoded.interactions, "target", n_partners, np.random.default_rng(1))
    split = split_rows(encoded.interactions, SplitKind.RANDOM, partition, np.random.default_rng(2))
    return partner_dataset(encoded, "all", train=split.rows(Part.TRAIN), valid=split.rows(Part.VALID))


def open_store(folder: Path) -> RunStore:
    store = RunStore(f"sqlite:///{folder / 'runs.sqlite'}", folder / "runs")
    store.open_run("run", {"seed": 3}, NOW)
    return store


def coordinator(
    folder: Path,
    *,
    rounds: int = 6,
    patience: int = 50,
    n_partners: int = 3,
    performance: Performance = NEVER,
    local: LocalSettings | None = None,
    method: str = "fedavg",
    aggregation: Aggregation = Aggregation.SECURE,
    datasets: list[PartnerDataset] | None = None,
    store: RunStore | None = None,
) -> Coordinator:
    """A run of fresh objects over what the folder holds, as a new process would make them."""
    plan = TrainingPlan(
        local=local or local_settings(),
        method=Method.parse(method),
        schedule=Schedule(rounds=rounds, patience=patience),
        seed=3,
    )
    parts = list(enumerate(datasets or partner_datasets(n_partners)))
    learners = interaction_learners(parts, local or local_settings(), plan.method, plan.seed)
    simulation = simulate(learners, aggregation, folder / "runs" / "run")
    store = store or open_store(folder)
    return Coordinator(plan, simulation.sums, store, "run", performance, simulation.sum_error)


def essence(model: TrainedModel) -> list[tuple[int, float, float, str]]:
    """All of the rounds but the time they took."""
    return [(r.round_index, r.valid_error, r.train_loss, r.aggregate_digest) for r in model.rounds]


def initial(norm: Norm, seed: int, mean_value: float) -> Vector:
    network = make_network(local_settings(norm=norm), seed)
    return initial_parameters(network, shared_layout(network, Method()), Method(), mean_value)


def broadcast(round_index: int, parameters: Vector) -> Broadcast:
    return Broadcast(
        sum_index=0,
        magnitudes=False,
        round_index=round_index,
        step=0,
        n_steps=1,
        train=True,
        save=False,
        best_round=-1,
        parameters=parameters,
    )


def opened_at_once(url: str, folder: Path, n_openers: int = 8) -> set[RunStatus]:
    """What a run is to each of those who open a new store at the same moment."""
    begin = Barrier(n_openers)

    def status_of(index: int) -> RunStatus:
        begin.wait()
        return RunStore(url, folder / "runs").open_run(f"run-{index}", {}, NOW)

    with ThreadPoolExecutor(n_openers) as openers:
        return set(openers.map(status_of, range(n_openers)))
