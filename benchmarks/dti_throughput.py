"""The fast GraphDTA network against its plain PyTorch Geometric formulation, interleaved in one run, one thread.

Usage: python benchmarks/dti_throughput.py [--quick] [--save]

CPU seconds of this process. The plain form expands a graph and a token row per pair, as published; it gets
single batches, and its time for the whole test fold is that of its batches, times their number.
"""

import argparse
import statistics
from collections.abc import Callable

import numpy as np
import torch

from figures import Figure, at_least, at_most, cpu_s, publish
from pharmonia.data.interactions import EncodedInteractions, Pairs
from pharmonia.data.partition import PartitionKind, partition_rows
from pharmonia.data.partner import partner_dataset
from pharmonia.data.splits import Part, SplitKind, split_rows
from pharmonia.learn.local import LocalLearner, initial_parameters, predict, use_one_thread
from pharmonia.learn.settings import LocalSettings, Optimiser
from pharmonia.nn.choices import Norm
from pharmonia.nn.interaction import EntityIndex, GinInteraction
from pharmonia.run.cache import is_ready
from pharmonia.run.datasets import load
from plain_graphdta import PlainGin, expand, graph_list

BATCH_SIZE = 512
N_PARTNERS = 8
FAST_STEPS = 8  # per plain step
WARM_UP_STEPS = 30  # kernels are compiled per shape


class Rivals:
    """The two networks, batch by batch."""

    def __init__(self, encoded: EncodedInteractions) -> None:
        self._encoded = encoded
        self._rng = np.random.default_rng(0)
        self._entities = EntityIndex(encoded.graphs, encoded.tokens)
        self._data = graph_list(encoded.graphs)
        self._fast, self._plain = GinInteraction(Norm.BATCH), PlainGin("batch")
        self._fast_adam = torch.optim.Adam(self._fast.parameters(), lr=5e-4, fused=True)
        self._plain_adam = torch.optim.Adam(self._plain.parameters(), lr=5e-4)

    def _pairs(self) -> Pairs:
        pairs = self._encoded.interactions.pairs
        return pairs.take(self._rng.choice(len(pairs), min(BATCH_SIZE, len(pairs)), replace=False))

    def fast_step(self) -> None:
        """Training step of the fast network, batch assembly included."""
        pairs = self._pairs()
        _learn(self._fast_adam, lambda: self._fast(self._entities.batch(pairs.compound, pairs.target)), pairs)

    def plain_step(self) -> None:
        """Training step of the plain network, batch assembly included."""
        pairs = self._pairs()
        expanded = expand(self._data, self._encoded.tokens, pairs.compound, pairs.target)
        _learn(self._plain_adam, lambda: self._plain(*expanded), pairs)

    @torch.no_grad()
    def fast_inference(self) -> None:
        """Prediction of one batch by the fast network."""
        pairs = self._pairs()
        self._fast.eval()(self._entities.batch(pairs.compound, pairs.target))

    @torch.no_grad()
    def plain_inference(self) -> None:
        """Prediction of one batch by the plain network."""
        pairs = self._pairs()
        self._plain.eval()(*expand(self._data, self._encoded.tokens, pairs.compound, pairs.target))


def _learn(optimiser: torch.optim.Optimizer, forward: Callable[[], torch.Tensor], pairs: Pairs) -> None:
    optimiser.zero_grad()
    loss = torch.nn.functional.mse_loss(forward(), torch.tensor(pairs.value))
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()


def interleaved(plain: Callable[[], None], fast: Callable[[], None], n_rounds: int) -> tuple[float, float, float]:
    """Median over rounds of plain / fast CPU time per call, and the median times of each."""
    plain()
    cpu_s(fast, WARM_UP_STEPS)
    times = [(cpu_s(plain), cpu_s(fast, FAST_STEPS)) for _ in range(n_rounds)]
    ratio = statistics.median(a / b for a, b in times)
    return ratio, statistics.median(a for a, _ in times), statistics.median(b for _, b in times)


def measure_network(encoded: EncodedInteractions, n_rounds: int) -> tuple[list[Figure], float]:
    """Training and inference, and the plain form's seconds per batch of inference."""
    rivals = Rivals(encoded)
    train, plain_s, fast_s = interleaved(rivals.plain_step, rivals.fast_step, n_rounds)
    print(f"training step: plain {plain_s:.3f} s, fast {fast_s * 1e3:.1f} ms")
    infer, plain_s, fast_s = interleaved(rivals.plain_inference, rivals.fast_inference, n_rounds)
    print(f"inference of a batch: plain {plain_s:.3f} s, fast {fast_s * 1e3:.1f} ms")
    figures = [
        at_least(f"training step, batch {BATCH_SIZE}: plain / fast", train, 25),
        at_least(f"inference, batch {BATCH_SIZE}: plain / fast", infer, 25),
    ]
    return figures, plain_s


def measure_fold(encoded: EncodedInteractions, plain_batch_s: float) -> Figure:
    """Scoring the whole published test fold."""
    interactions = encoded.interactions
    fold = interactions.pairs.take(np.flatnonzero(interactions.fold == 0))
    parameters = initial_parameters(Norm.BATCH, 0, 0.0)
    fold_s = min(cpu_s(lambda: predict(parameters, Norm.BATCH, encoded, fold)) for _ in range(3))
    plain_s = plain_batch_s * len(fold) / BATCH_SIZE
    print(f"scoring {len(fold):,} pairs: plain {plain_s:.1f} s, fast {fold_s:.2f} s")
    return at_least(f"scoring the test fold, {len(fold):,} pairs: plain / fast", plain_s / fold_s, 80)


def measure_round(encoded: EncodedInteractions, n_rounds: int, share: int) -> Figure:
    """CPU time of a FedAvg round of 8 partners by target over that of a pooled epoch of the same rows."""
    partition = partition_rows(encoded.interactions, PartitionKind.TARGET, N_PARTNERS, np.random.default_rng(0))
    split = split_rows(encoded.interactions, SplitKind.RANDOM, partition, np.random.default_rng(1))
    train, valid = split.rows(Part.TRAIN)[::share], split.rows(Part.VALID)[::share]
    settings = LocalSettings(
        norm=Norm.BATCH, optimiser=Optimiser.ADAM, learning_rate=5e-4, batch_size=BATCH_SIZE, local_epochs=1
    )
    owner = partition.owner
    pooled = LocalLearner(partner_dataset(encoded, "pooled", train=train, valid=valid), settings, (0,))
    partners = [
        LocalLearner(
            partner_dataset(encoded, name, train=train[owner[train] == index], valid=valid[owner[valid] == index]),
            settings,
            (0, index),
        )
        for index, name in enumerate(partition.names)
    ]
    parameters = initial_parameters(Norm.BATCH, 0, 0.0)

    def one_round(learners: list[LocalLearner], round_index: int) -> None:
        for learner in learners:
            learner.validate(parameters)
            learner.train(parameters, round_index)

    one_round([pooled], 0)
    one_round(partners, 0)
    times = [
        (cpu_s(lambda r=r: one_round(partners, r)), cpu_s(lambda r=r: one_round([pooled], r)))  # type: ignore[misc]
        for r in range(1, n_rounds + 1)
    ]
    federated_s, pooled_s = (statistics.median(column) for column in zip(*times, strict=True))
    print(f"{train.size:,} training rows: FedAvg round {federated_s:.2f} s, pooled epoch {pooled_s:.2f} s")
    ratio = statistics.median(a / b for a, b in times)
    return at_most(f"FedAvg round of {N_PARTNERS} partners / pooled epoch, CPU time", ratio, 1.1)


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="under 50 s: fewer repetitions, a quarter of the rows")
    parser.add_argument("--save", action="store_true", help="write results/dti_throughput.json")
    options = parser.parse_args()
    use_one_thread()
    name = "kiba" if is_ready("kiba") else "kiba-sample"
    print(f"data set {name}")
    encoded = load(name)
    figures, plain_batch_s = measure_network(encoded, 3 if options.quick else 9)
    if name == "kiba":
        figures.append(measure_fold(encoded, plain_batch_s))
        figures.append(measure_round(encoded, 1 if options.quick else 4, 4 if options.quick else 1))
    else:
        print("the test fold and the FedAvg round are measured on full KIBA: pharmonia data fetch kiba")
    publish("dti_throughput", figures, save=options.save)


if __name__ == "__main__":
    main()
