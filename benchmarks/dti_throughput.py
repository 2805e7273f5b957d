"""The fast networks against their plain formulations, interleaved in one run, one thread.

Usage: python benchmarks/dti_throughput.py [--model MODEL] [--quick] [--save]

CPU seconds of this process. The plain forms expand a graph (DeepDTA: a row of SMILES tokens) and a token row per
pair, as published. GIN, the default, is also measured at scoring the whole test fold and in a FedAvg round; the
plain form's time for the fold is that of its batches, times their number.
"""

import argparse
import statistics
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from figures import Figure, at_least, at_most, cpu_s, publish
from pharmonia.base.arrays import Vector
from pharmonia.bench.scenario import Scenario, share_rows
from pharmonia.data.interactions import EncodedInteractions, Pairs
from pharmonia.data.partner import partner_dataset
from pharmonia.data.splits import Part, SplitKind, split_rows
from pharmonia.learn.local import LocalLearner
from pharmonia.learn.messages import Broadcast
from pharmonia.learn.network import use_one_thread
from pharmonia.learn.settings import LocalSettings, Method, Optimiser
from pharmonia.nn.choices import Model, Norm
from pharmonia.nn.interaction import EntityIndex
from pharmonia.nn.models import build_model
from pharmonia.nn.parameters import Layout, to_vector
from pharmonia.run.cache import is_ready
from pharmonia.run.datasets import load
from plain_models import PlainEntities, plain_model

Rows = npt.NDArray[np.int64]

BATCH_SIZE = 512
N_PARTNERS = 8
FAST_STEPS = 4  # per plain step
WARM_UP_STEPS = 12  # kernels are compiled per shape
GOALS = {  # training step, inference: plain / fast
    Model.GIN: (25, 25),
    Model.GCN: (15, 15),
    Model.GAT: (4, 15),
    Model.GAT_GCN: (3, 3),
    Model.DEEPDTA: (3, 3),
    Model.LIGAND_ONLY: (1, 1),
    Model.TARGET_ONLY: (25, 25),
}


class Rivals:
    """The two forms of a network, batch by batch."""

    def __init__(self, model: Model, encoded: EncodedInteractions) -> None:
        self._encoded = encoded
        self._rng = np.random.default_rng(0)
        arrays = (encoded.graphs, encoded.tokens, encoded.smiles_tokens)
        self._entities, self._plain_entities = EntityIndex(*arrays), PlainEntities(model, *arrays)
        self._fast, self._plain = build_model(model, Norm.BATCH), plain_model(model, Norm.BATCH)
        self._fast_adam = torch.optim.Adam(self._fast.parameters(), lr=5e-4, fused=True)
        self._plain_adam = torch.optim.Adam(self._plain.parameters(), lr=5e-4)

    def _pairs(self) -> Pairs:
        pairs = self._encoded.interactions.pairs
        return pairs.take(self._rng.choice(len(pairs), min(BATCH_SIZE, len(pairs)), replace=False))

    def fast_step(self) -> None:
        """Training step of the fast network, batch assembly included."""
        pairs = self._pairs()
        self._fast.train()
        _learn(self._fast_adam, lambda: self._fast(self._entities.batch(pairs.compound, pairs.target)), pairs)

    def plain_step(self) -> None:
        """Training step of the plain network, batch assembly included."""
        pairs = self._pairs()
        self._plain.train()
        expanded = self._plain_entities.batch(pairs.compound, pairs.target)
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
        self._plain.eval()(*self._plain_entities.batch(pairs.compound, pairs.target))


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


def measure_network(model: Model, encoded: EncodedInteractions, n_rounds: int) -> tuple[list[Figure], float]:
    """Training and inference, and the plain form's seconds per batch of inference."""
    rivals = Rivals(model, encoded)
    train_goal, infer_goal = GOALS[model]
    train, plain_s, fast_s = interleaved(rivals.plain_step, rivals.fast_step, n_rounds)
    print(f"training step: plain {plain_s:.3f} s, fast {fast_s * 1e3:.1f} ms")
    infer, plain_s, fast_s = interleaved(rivals.plain_inference, rivals.fast_inference, n_rounds)
    print(f"inference of a batch: plain {plain_s:.3f} s, fast {fast_s * 1e3:.1f} ms")
    of = "" if model is Model.GIN else f"{model.value}, "
    figures = [
        at_least(f"{of}training step, batch {BATCH_SIZE}: plain / fast", train, train_goal),
        at_least(f"{of}inference, batch {BATCH_SIZE}: plain / fast", infer, infer_goal),
    ]
    return figures, plain_s


@torch.no_grad()
def measure_fold(encoded: EncodedInteractions, plain_batch_s: float) -> Figure:
    """Scoring the whole published test fold."""
    interactions = encoded.interactions
    fold = interactions.pairs.take(np.flatnonzero(interactions.fold == 0))

    def score() -> None:
        entities = EntityIndex(encoded.graphs, encoded.tokens, encoded.smiles_tokens)
        build_model(Model.GIN, Norm.BATCH).eval().score(entities.batch(fold.compound, fold.target))

    fold_s = min(cpu_s(score) for _ in range(3))
    plain_s = plain_batch_s * len(fold) / BATCH_SIZE
    print(f"scoring {len(fold):,} pairs: plain {plain_s:.1f} s, fast {fold_s:.2f} s")
    return at_least(f"scoring the test fold, {len(fold):,} pairs: plain / fast", plain_s / fold_s, 80)


def measure_round(encoded: EncodedInteractions, n_rounds: int, share: int) -> Figure:
    """CPU time of a FedAvg round of 8 partners by target over that of a pooled epoch of the same rows."""
    partition = share_rows(Scenario.parse("target"), encoded.interactions, N_PARTNERS, np.random.default_rng(0))
    split = split_rows(encoded.interactions, SplitKind.RANDOM, partition, np.random.default_rng(1))
    train, valid = split.rows(Part.TRAIN)[::share], split.rows(Part.VALID)[::share]
    owner = partition.owner
    pooled = _learner(encoded, train, valid, "pooled", (0,))
    partners = [
        _learner(encoded, train[owner[train] == index], valid[owner[valid] == index], name, (0, index))
        for index, name in enumerate(partition.names)
    ]
    network = build_model(Model.GIN, Norm.BATCH)
    parameters = to_vector(network, Layout.of(network))

    def one_round(learners: list[LocalLearner], round_index: int) -> None:
        for learner in learners:
            learner.contribute(_broadcast(parameters, round_index))

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


def _learner(encoded: EncodedInteractions, train: Rows, valid: Rows, name: str, seed: tuple[int, ...]) -> LocalLearner:
    settings = LocalSettings(
        model=Model.GIN,
        norm=Norm.BATCH,
        optimiser=Optimiser.ADAM,
        learning_rate=5e-4,
        batch_size=BATCH_SIZE,
        local_epochs=1,
    )
    return LocalLearner(partner_dataset(encoded, name, train=train, valid=valid), settings, Method(), seed)


def _broadcast(parameters: Vector, round_index: int) -> Broadcast:
    return Broadcast(
        sum_index=round_index,
        magnitudes=False,
        round_index=round_index,
        step=0,
        n_steps=1,
        train=True,
        save=False,
        best_round=-1,
        parameters=parameters,
    )


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=[model.value for model in Model], default=Model.GIN.value)
    parser.add_argument("--quick", action="store_true", help="under 50 s: fewer repetitions, a quarter of the rows")
    parser.add_argument(
        "--save", action="store_true", help="write results/dti_throughput.json, or dti_throughput_MODEL.json"
    )
    options = parser.parse_args()
    use_one_thread()
    model = Model(options.model)
    name = "kiba" if is_ready("kiba") else "kiba-sample"
    print(f"data set {name}, network {model.value}")
    encoded = load(name)
    n_rounds = 9 if not options.quick else 3 if model is Model.GIN else 2
    figures, plain_batch_s = measure_network(model, encoded, n_rounds)
    if model is Model.GIN and name == "kiba":
        figures.append(measure_fold(encoded, plain_batch_s))
        figures.append(measure_round(encoded, 1 if options.quick else 4, 4 if options.quick else 1))
    elif model is Model.GIN:
        print("the test fold and the FedAvg round are measured on full KIBA: pharmonia data fetch kiba")
    benchmark = "dti_throughput" if model is Model.GIN else f"dti_throughput_{model.value.replace('-', '_')}"
    publish(benchmark, figures, save=options.save)


if __name__ == "__main__":
    main()
