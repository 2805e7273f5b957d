"""What federating costs on top of training: rounds of many partners, secure and plain, against one owner of all rows.

Usage: python benchmarks/federated_round.py [--quick] [--save]

CPU seconds of this process, the kinds of round interleaved in one run, each divided by its optimiser steps. What a
round of 32 partners takes on top of one owner's epoch is 32 models, validation on 32 shares, frames and sums; on the
other side, batches of one partner hold fewer targets.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from figures import Figure, at_most, publish
from pharmonia.bench.scenario import Scenario, share_rows
from pharmonia.bench.simulation import Simulation, interaction_learners, simulate
from pharmonia.data.interactions import EncodedInteractions
from pharmonia.data.partner import PartnerDataset, partner_dataset
from pharmonia.data.splits import Part, SplitKind, split_rows
from pharmonia.learn.algorithms import Schedule
from pharmonia.learn.messages import Broadcast
from pharmonia.learn.network import initial_parameters, make_network, shared_layout, sum_tensors, use_one_thread
from pharmonia.learn.settings import Aggregation, LocalSettings, Method, Optimiser
from pharmonia.nn.choices import Model, Norm
from pharmonia.run.cache import is_ready
from pharmonia.run.datasets import load
from pharmonia.run.records import TrainingPlan
from pharmonia.run.sums import Request
from pharmonia.run.tensors import digest_of, sum_layout

N_PARTNERS = 32
ONE, PLAIN, SECURE = "one owner", "32 partners, plain sums", "32 partners, secure sums"


class Rounds:
    """Rounds of one simulation, from the same parameters each."""

    def __init__(self, datasets: list[PartnerDataset], aggregation: Aggregation, batch_size: int, folder: Path) -> None:
        local = LocalSettings(
            model=Model.GIN,
            norm=Norm.BATCH,
            optimiser=Optimiser.ADAM,
            learning_rate=5e-4,
            batch_size=batch_size,
            local_epochs=1,
        )
        plan = TrainingPlan(local=local, method=Method(), schedule=Schedule(rounds=99, patience=99), seed=0)
        learners = interaction_learners(list(enumerate(datasets)), local, plan.method, plan.seed)
        self._simulation: Simulation = simulate(learners, aggregation, folder)
        self._simulation.sums.start()
        network = make_network(local, 0)
        layout = shared_layout(network, Method())
        self._layout = sum_layout(sum_tensors(layout, Method()))
        self._parameters = initial_parameters(network, layout, Method(), 11.7)
        self._n_rounds = 0
        self.n_steps = sum(-(-len(dataset.train) // batch_size) for dataset in datasets)

    def round(self) -> float:
        """CPU seconds of one more round."""
        message = Broadcast(
            sum_index=0,
            magnitudes=False,
            round_index=self._n_rounds,
            step=0,
            n_steps=1,
            train=True,
            save=False,
            best_round=-1,
            parameters=self._parameters,
        )
        request = Request(
            frame_of=lambda index, magnitudes: replace(message, sum_index=index, magnitudes=magnitudes),
            layout=self._layout,
            model_digest=digest_of(self._parameters),
        )
        started = time.process_time()
        self._simulation.sums.collect(request)
        self._n_rounds += 1
        return time.process_time() - started


def shares(encoded: EncodedInteractions, share: int) -> list[PartnerDataset]:
    """Every partner's rows, by target, every `share`-th of them."""
    partition = share_rows(Scenario.parse("target"), encoded.interactions, N_PARTNERS, np.random.default_rng(0))
    split = split_rows(encoded.interactions, SplitKind.RANDOM, partition, np.random.default_rng(1))
    owner = partition.owner
    train, valid = split.rows(Part.TRAIN)[::share], split.rows(Part.VALID)[::share]
    return [
        partner_dataset(encoded, name, train=train[owner[train] == index], valid=valid[owner[valid] == index])
        for index, name in enumerate(partition.names)
    ]


def one_owner(encoded: EncodedInteractions, share: int) -> PartnerDataset:
    """The same rows in one place."""
    partition = share_rows(Scenario.parse("target"), encoded.interactions, N_PARTNERS, np.random.default_rng(0))
    split = split_rows(encoded.interactions, SplitKind.RANDOM, partition, np.random.default_rng(1))
    return partner_dataset(encoded, "all", train=split.rows(Part.TRAIN)[::share], valid=split.rows(Part.VALID)[::share])


def measure(encoded: EncodedInteractions, *, batch_size: int, share: int, n_rounds: int) -> list[Figure]:
    """Rounds of 32 partners over an epoch of one owner with as many steps of the same size."""
    with tempfile.TemporaryDirectory() as folder:
        kinds = {
            ONE: Rounds([one_owner(encoded, share)], Aggregation.PLAIN, batch_size, Path(folder) / "one"),
            PLAIN: Rounds(shares(encoded, share), Aggregation.PLAIN, batch_size, Path(folder) / "plain"),
            SECURE: Rounds(shares(encoded, share), Aggregation.SECURE, batch_size, Path(folder) / "secure"),
        }
        for rounds in kinds.values():
            rounds.round()  # warm: kernels are compiled per shape
        times: dict[str, list[float]] = {name: [] for name in kinds}
        for _ in range(n_rounds):
            for name, rounds in kinds.items():
                times[name].append(rounds.round())
    best = {name: min(found) for name, found in times.items()}
    per_step = {name: best[name] / rounds.n_steps for name, rounds in kinds.items()}
    for name, rounds in kinds.items():
        print(f"{name}: {best[name]:.2f} CPU s, {rounds.n_steps} steps")
    return [
        at_most(f"round of {name} / as many steps of one owner", per_step[name] / per_step[ONE], 1.15)
        for name in (PLAIN, SECURE)
    ]


def main() -> None:
    """Measure on KIBA where it is, else on the embedded sample, and publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a quarter of the rows, one round; the goals stay")
    parser.add_argument("--save", action="store_true", help="write results/federated_round.json")
    options = parser.parse_args()
    use_one_thread()
    if is_ready("kiba"):
        share = 4 if options.quick else 1
        figures = measure(load("kiba"), batch_size=512 // share, share=share, n_rounds=1 if options.quick else 3)
    else:
        figures = measure(load("kiba-sample"), batch_size=32, share=1, n_rounds=3)
    publish("federated_round", figures, save=options.save)


if __name__ == "__main__":
    main()
