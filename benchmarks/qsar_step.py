"""A multi-task training step against a plain one, interleaved in one run; ratios of processor time and of memory.

Run: python benchmarks/qsar_step.py [--quick] [--save]. The last line is JSON. The plain step multiplies the compounds
as a COO matrix, scores every task for every compound and takes PyTorch's default Adam; ours is what a partner runs.
Memory is measured in a process each, as the growth of the largest resident set over what is there before the network.
"""

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable

import numpy as np
import torch

from figures import Figure, at_least, at_most, publish
from pharmonia.nn.heads import LabelRows, TaskHead
from pharmonia.nn.heads_names import HeadName, TaskKind
from pharmonia.nn.multitask import MultitaskBatch, MultitaskNetwork, Trunk
from pharmonia.nn.sparse import BitRows
from pharmonia.nn.sparse_steps import BlockAdam
from plain_multitask import PlainMultitask, copy_weights

N_ROWS, N_BITS, N_SET, WIDTH = 4000, 32_000, 60, 2000
LABELS_PER_COMPOUND = {300: 15, 3000: 30}  # 5 % and 1 % of the tasks
GOALS = {300: 3.5, 3000: 5.0}
MEMORY_GOAL = 0.75
LEARNING_RATE = 1e-3
NAME = HeadName.CLASSIFICATION

Labels = dict[HeadName, LabelRows]


def make_bits(rng: np.random.Generator) -> BitRows:
    """Compounds whose bits are as common as those of real ones: a few in most, most in a few; about 25,000 in all."""
    share = 1.0 / np.arange(20, N_BITS + 20) ** 1.1
    rank = np.searchsorted(np.cumsum(share / share.sum()), rng.random((N_ROWS, 2 * N_SET)))
    columns = rng.permutation(N_BITS)[np.minimum(rank, N_BITS - 1)]
    rows = [np.sort(rng.permutation(np.unique(row))[:N_SET]) for row in columns]
    indptr = np.concatenate(([0], np.cumsum([row.size for row in rows])))
    return BitRows(indptr=indptr.astype(np.int64), indices=np.concatenate(rows).astype(np.int32), n_columns=N_BITS)


def make_labels(rng: np.random.Generator, n_tasks: int) -> Labels:
    """Labels of a few tasks for each compound."""
    n = LABELS_PER_COMPOUND[n_tasks]
    columns = np.sort(rng.random((N_ROWS, n_tasks)).argpartition(n, axis=1)[:, :n], axis=1)
    part = LabelRows(
        indptr=np.arange(N_ROWS + 1, dtype=np.int64) * n,
        column=columns.ravel().astype(np.int32),
        value=rng.integers(0, 2, columns.size).astype(np.float32),
        censor=np.zeros(columns.size, dtype=np.int8),
        weight=np.ones(columns.size, dtype=np.float32),
        n_columns=n_tasks,
    )
    return {NAME: part}


def make_network(n_tasks: int) -> MultitaskNetwork:
    """One layer of the goal's width; dropout off on both sides, so that they can be compared."""
    torch.manual_seed(1)
    head = TaskHead(TaskKind.CLASSIFICATION, WIDTH, (), n_tasks, 0.0)
    return MultitaskNetwork(Trunk(N_BITS, (WIDTH,), 0.0), {NAME: head})


def our_step(network: MultitaskNetwork, bits: BitRows, labels: Labels) -> Callable[[], float]:
    """A call is one step, batch included; it gives the loss before it."""
    blocks = BlockAdam(network.sparse_layers, LEARNING_RATE)
    others = [weight for name, weight in network.named_parameters() if name != "trunk.input.weight"]
    optimiser = torch.optim.Adam(others, lr=LEARNING_RATE, fused=True)

    def step() -> float:
        batch = MultitaskBatch.of(bits, labels, torch.float32)
        optimiser.zero_grad()
        loss = (network.losses(batch)[NAME] * batch.heads[NAME].weight).sum() / N_ROWS
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        blocks.step()
        return loss.item()

    return step


def plain_step(network: MultitaskNetwork, bits: BitRows, labels: Labels) -> Callable[[], float]:
    """The same of the plain network with our weights."""
    plain = PlainMultitask(N_BITS, (WIDTH,), (), {NAME: labels[NAME].n_columns})
    copy_weights(network, plain)
    optimiser = torch.optim.Adam(plain.parameters(), lr=LEARNING_RATE)

    def step() -> float:
        optimiser.zero_grad()
        loss = plain.loss(bits, labels) / N_ROWS
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        return loss.item()

    return step


def measure_speed(n_tasks: int, n_times: int) -> Figure:
    """Ratio of the median CPU seconds of a step; the losses must stay equal from step to step."""
    rng = np.random.default_rng(n_tasks)
    bits, labels = make_bits(rng), make_labels(rng, n_tasks)
    network = make_network(n_tasks)
    steps = (plain_step(network, bits, labels), our_step(network, bits, labels))
    np.testing.assert_allclose(steps[0](), steps[1](), rtol=1e-5)  # warm-up
    taken: list[list[float]] = [[], []]
    for _ in range(n_times):
        losses = []
        for step, times in zip(steps, taken, strict=True):
            start = time.process_time()
            losses.append(step())
            times.append(time.process_time() - start)
        np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    plain, ours = (float(np.median(times)) for times in taken)
    print(
        f"{n_tasks} tasks: plain {plain:.3f}, ours {ours:.3f} CPU s per step; {np.unique(bits.indices).size} bits used"
    )
    return at_least(f"step, {n_tasks:,} tasks: CPU plain / ours", plain / ours, GOALS[n_tasks])


def _peak_mib(n_tasks: int, *, is_ours: bool) -> float:
    torch.set_num_threads(1)
    rng = np.random.default_rng(n_tasks)
    bits, labels = make_bits(rng), make_labels(rng, n_tasks)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    network = make_network(n_tasks)
    step = (our_step if is_ours else plain_step)(network, bits, labels)
    if not is_ours:
        del network
    for _ in range(2):
        step()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def _send_peak(n_tasks: int, is_ours: bool, result: "multiprocessing.SimpleQueue[float]") -> None:
    result.put(_peak_mib(n_tasks, is_ours=is_ours))


def measure_memory(n_tasks: int) -> Figure:
    """Ratio of what network and steps add to the largest resident set."""
    context = multiprocessing.get_context("spawn")
    peaks = []
    for is_ours in (True, False):
        result: multiprocessing.SimpleQueue[float] = context.SimpleQueue()
        process = context.Process(target=_send_peak, args=(n_tasks, is_ours, result))
        process.start()
        peaks.append(result.get())
        process.join()
    print(f"{n_tasks} tasks: ours {peaks[0]:.0f} MiB, plain {peaks[1]:.0f} MiB")
    return at_most(f"step, {n_tasks:,} tasks: memory ours / plain", peaks[0] / peaks[1], MEMORY_GOAL)


def main() -> None:
    """Measure, print a line per figure, then the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under 50 s on one core")
    parser.add_argument("--save", action="store_true", help="write results/qsar_step.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    n_times = 2 if options.quick else 7
    memory = [measure_memory(n_tasks) for n_tasks in ([3000] if options.quick else GOALS)]  # a child starts at our peak
    speed = [measure_speed(n_tasks, n_times) for n_tasks in GOALS]
    publish("qsar_step", [*speed, *memory], save=options.save)


if __name__ == "__main__":
    main()
