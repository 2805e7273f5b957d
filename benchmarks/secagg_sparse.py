"""Sparse secure rounds against dense sums: the same network, seeds and minibatches, summed in three ways.

Usage: python benchmarks/secagg_sparse.py [--quick] [--mirror DIR] [--save]

Ten partners hold the compounds of KIBA (229 tasks) and Biogen ADME (6) at random, each compound at one of them, and
train 32,000 hashed ECFP bits (Morgan radius 3) -> 2,000 hidden -> 235 outputs together: batches of 64, one sum of
gradients a step, every weight shared, Adagrad at the server. The same fifth of the compounds is tested on with every
seed, so seeds differ only in who holds what, first weights and batches. Tasks are standardised with the mean and scale
of all training values, in every arm alike. The error of an endpoint is its root mean square error over that of
predicting the training mean; endpoints with 20 test values or more count.

Sums are made without masks, and on some steps once more with them: the two must agree bit for bit, counts too. The raw
files are read from --mirror or PHARMONIA_MIRROR unless `pharmonia data fetch` was run. The last line is JSON.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator
from scipy import sparse, stats

from figures import Figure, at_least, at_most, publish
from pharmonia.base.arrays import Vector
from pharmonia.data.adme import AssayTable
from pharmonia.data.interactions import Interactions
from pharmonia.run.cache import is_ready
from pharmonia.run.datasets import fetch, load, load_assays
from pharmonia.secagg.fixedpoint import WeightedSum, error_bound
from pharmonia.secagg.header import Layout, Tier
from pharmonia.secagg.messages import encode, encode_parts
from pharmonia.secagg.server import RoundPlan, ServerRound, open_round
from pharmonia.secagg.sparse import MIN_COUNT, count_layout
from secagg import Group
from sparse_training import MODEL, Arm, Consortium, Floats, Network, StepCounts, Summed, Tasks, normalised_rmse

N_BITS, N_HIDDEN, BATCH, N_PARTNERS = 32_000, 2_000, 64, 10
MIN_TEST_VALUES = 20
MARGIN = 0.01  # of normalised error; fixed before the first run with --save
FRAME_BYTES = 1024  # READY and the frame around the words, counts and values together


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """Compounds to train and to test on; the first `n_kiba` tasks are KIBA's."""

    tasks: Tasks
    train: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]
    n_kiba: int

    def take(self, compounds: npt.NDArray[np.int64]) -> Tasks:
        """Some of the compounds."""
        return Tasks(bits=self.tasks.bits[compounds], values=self.tasks.values[compounds])


def tables(mirror: str | None) -> tuple[Interactions, AssayTable]:
    """KIBA and Biogen ADME, from the cache or through the fetch code from a mirror."""
    if is_ready("kiba") and is_ready("biogen-adme"):
        return load("kiba").interactions, load_assays("biogen-adme")
    if mirror is None:
        raise SystemExit("run `pharmonia data fetch kiba` and `biogen-adme`, or name their raw files with --mirror")
    with tempfile.TemporaryDirectory() as cache:
        os.environ["PHARMONIA_CACHE"] = cache
        for name in ("kiba", "biogen-adme"):
            fetch(name, mirror=Path(mirror))
        return load("kiba").interactions, load_assays("biogen-adme")


def hashed_bits(smiles: Sequence[str]) -> sparse.csr_array:
    """(n, N_BITS) float32: hashes of Morgan environments modulo N_BITS, without folding by powers of two."""
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=3)
    hashes = [generator.GetSparseFingerprint(Chem.MolFromSmiles(text)).GetOnBits() for text in smiles]
    rows = [np.unique(np.array(list(found), dtype=np.int64) % N_BITS) for found in hashes]
    starts = np.concatenate([[0], np.cumsum([row.size for row in rows])])
    columns = np.concatenate(rows)
    return sparse.csr_array((np.ones(columns.size, np.float32), columns, starts), shape=(len(rows), N_BITS))


def split_of(kiba: Interactions, adme: AssayTable) -> Split:
    """All compounds of both, a fifth of them to test on, values standardised by the rest."""
    smiles = sorted({*kiba.smiles, *adme.smiles})
    place = {text: index for index, text in enumerate(smiles)}
    values = np.full((len(smiles), kiba.n_targets + len(adme.endpoints)), np.nan)
    compound = np.array([place[text] for text in kiba.smiles])
    values[compound[kiba.pairs.compound], kiba.pairs.target] = kiba.pairs.value
    values[[place[text] for text in adme.smiles], kiba.n_targets :] = adme.values
    order = np.random.default_rng(0).permutation(len(smiles))
    test, train = order[: len(order) // 5], order[len(order) // 5 :]
    scaled = (values - np.nanmean(values[train], axis=0)) / np.nanstd(values[train], axis=0)
    tasks = Tasks(bits=hashed_bits(smiles), values=scaled.astype(np.float32))
    return Split(tasks=tasks, train=train, test=test, n_kiba=kiba.n_targets)


def open_next(group: Group, plan: RoundPlan) -> ServerRound:
    """READY from everybody."""
    readies = []
    for name, session in group.sessions.items():
        group.sessions[name], ready = session.commit(plan.round_index, plan.layout, MODEL)
        readies.append(ready)
    return open_round(group.directory, plan, readies)


class MaskedSums:
    """Sums under masks, by the sessions of partners who all live here; counts the bytes that one of them sends."""

    def __init__(self) -> None:
        self.n_bytes = 0
        self._group = Group(N_PARTNERS, n_colluders=1, ring_degree=2)
        self._n_rounds = 0

    def values(self, layout: Layout, exponents: tuple[int, ...], vectors: Callable[[int], Floats]) -> WeightedSum:
        """Their sum, each of weight 1."""
        server = self._open(layout, exponents)
        sessions = self._group.sessions
        for index, name in enumerate(server.header.contributors):
            mask = sessions[name].prepare_mask(server.header)
            out = sessions[name].masked_update(mask, vectors(index), 1)
            sessions[name], server = out.session, server.add(out.message)
            self.n_bytes += sum(map(len, encode_parts(out.message))) if index == 0 else 0
        return server.finish()

    def counts(self, touched: Sequence[npt.NDArray[np.bool_]]) -> npt.NDArray[np.uint16]:
        """How many touched each row."""
        server = self._open(count_layout(touched[0].size), ())
        sessions = self._group.sessions
        for index, name in enumerate(server.header.contributors):
            out = sessions[name].masked_counts(sessions[name].prepare_mask(server.header), touched[index])
            sessions[name], server = out.session, server.add(out.message)
            self.n_bytes += sum(map(len, encode_parts(out.message))) if index == 0 else 0
        return server.finish_counts()

    def _open(self, layout: Layout, exponents: tuple[int, ...]) -> ServerRound:
        plan = RoundPlan(
            round_index=self._n_rounds,
            tier=Tier.COMMIT_THEN_MASK,
            layout=layout,
            model_digest=MODEL,
            exponents=exponents,
            weight_bits=0,
        )
        self._n_rounds += 1
        name = next(iter(self._group.sessions))
        self.n_bytes += len(encode(self._group.sessions[name].commit(plan.round_index, layout, MODEL)[1]))
        return open_next(self._group, plan)


class Checks:
    """Repeats some sums of a run under masks, and keeps which rows were ever touched and summed."""

    def __init__(self, arm: Arm, steps: Sequence[int]) -> None:
        """Args: an arm that is secure, and the steps to repeat."""
        self.n_checked, self.n_different, self.worst_error = 0, 0, 0.0
        self.touched, self.summed = np.zeros((2, N_BITS), dtype=np.bool_)
        self._arm, self._steps = arm, steps
        self._masked = MaskedSums()

    def __call__(self, summed: Summed) -> None:
        """One step's sum."""
        self.touched |= np.any(summed.touched, axis=0)
        self.summed[summed.rows] = True
        if summed.step not in self._steps:
            return
        self._masked.n_bytes = 0
        is_equal = self._sparse(summed) if self._arm is Arm.SPARSE else self._dense(summed)
        self.n_checked += 1
        self.n_different += not is_equal
        self.worst_error = max(self.worst_error, error_over_bound(summed))
        n_rows = summed.rows.size if self._arm is Arm.SPARSE else N_BITS
        expected = bytes_sent(self._arm, n_rows, summed.layout.length - summed.layout.lengths[0])
        if not 0 <= self._masked.n_bytes - expected <= FRAME_BYTES:
            raise SystemExit(f"a partner sent {self._masked.n_bytes} bytes; {expected} were expected")

    def _sparse(self, summed: Summed) -> bool:
        counts = self._masked.counts(summed.touched)
        found = self._masked.values(summed.layout, summed.exponents, lambda index: summed.vectors[index])
        is_counted = np.array_equal(counts, np.sum(summed.touched, axis=0))
        is_summed = np.array_equal(found.values, summed.result.values)
        return is_counted and is_summed and found.n_clipped == summed.result.n_clipped

    def _dense(self, summed: Summed) -> bool:
        """The sum of whole vectors of 64 million elements."""
        n_first = summed.layout.lengths[0]
        lengths = (N_BITS * N_HIDDEN, *summed.layout.lengths[1:])
        layout = Layout(names=("first", *summed.layout.names[1:]), lengths=lengths)

        def whole(index: int) -> Floats:
            vector = np.zeros(layout.length, dtype=np.float32)
            vector[: lengths[0]].reshape(N_BITS, -1)[summed.rows] = summed.vectors[index][:n_first].reshape(
                -1, N_HIDDEN
            )
            vector[lengths[0] :] = summed.vectors[index][n_first:]
            return vector

        found = self._masked.values(layout, summed.exponents, whole)
        first = found.values[: lengths[0]].reshape(N_BITS, -1)
        ours = summed.result
        is_first = np.array_equal(first[summed.rows].reshape(-1), ours.values[:n_first])
        is_zero = np.count_nonzero(first) == np.count_nonzero(ours.values[:n_first])
        is_rest = np.array_equal(found.values[lengths[0] :], ours.values[n_first:])
        return is_first and is_zero and is_rest and found.n_clipped == ours.n_clipped


def error_over_bound(summed: Summed) -> float:
    """The largest deviation from the float64 sum, over `error_bound`, of a sum without clips."""
    if summed.result.n_clipped:
        return 0.0
    worst, start = 0.0, 0
    for length, exponent in zip(summed.layout.lengths, summed.exponents, strict=True):
        part = [vector[start : start + length] for vector in summed.vectors]
        exact: Vector = np.sum(part, axis=0, dtype=np.float64)
        magnitude: Vector = np.sum([np.abs(values) for values in part], axis=0, dtype=np.float64)
        deviation = np.abs(summed.result.values[start : start + length] - exact)
        worst = max(worst, float((deviation / error_bound(len(part), exponent, magnitude)).max()))
        start += length
    return worst


def bytes_sent(arm: Arm, n_rows: int, n_rest: int) -> int:
    """What a partner sends in a step: counts where rows are sparse, then four bytes a value, weight and clip count."""
    counts = 2 * N_BITS if arm is Arm.SPARSE else 0
    return counts + 4 * (n_rows * N_HIDDEN + n_rest + 2)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """One arm with one seed: test errors, and rows step by step."""

    arm: Arm
    kiba: float
    adme: float
    counts: list[StepCounts]
    checks: Checks

    @property
    def steady(self) -> list[StepCounts]:
        """The second half of the steps, when as many rows are released as are carried on."""
        return self.counts[len(self.counts) // 2 :]


def train(split: Split, arm: Arm, seed: int, n_steps: int, checked: Sequence[int]) -> Run:
    """Train from the first weights of a seed, on the batches of that seed, and test."""
    started = time.process_time()
    rng = np.random.default_rng(seed)
    shares = np.array_split(rng.permutation(split.train), N_PARTNERS)
    network = Network((N_BITS, N_HIDDEN, split.tasks.values.shape[1]), rng)
    checks = Checks(arm, checked)
    consortium = Consortium(network, arm, N_PARTNERS, checks)
    counts = [
        consortium.step([split.take(rng.choice(share, BATCH, replace=False)) for share in shares])
        for _ in range(n_steps)
    ]
    test = split.take(split.test)
    errors = normalised_rmse(test.values, network.predict(test.bits), MIN_TEST_VALUES)
    kiba, adme = float(np.nanmean(errors[: split.n_kiba])), float(np.nanmean(errors[split.n_kiba :]))
    run = Run(arm=arm, kiba=kiba, adme=adme, counts=counts, checks=checks)
    touched, summed, carried = (
        np.mean([getattr(step, name) for step in run.steady]) for name in ("n_touched", "n_summed", "n_carried")
    )
    print(
        f"{arm}, seed {seed}: KIBA {kiba:.4f}, ADME {adme:.4f}; rows a step: {touched:,.0f} touched, {summed:,.0f} "
        f"summed, {carried:,.0f} carried by a partner; {sum(step.n_clipped for step in counts)} clips; "
        f"{time.process_time() - started:.0f} CPU s",
        flush=True,
    )
    if arm is Arm.SPARSE:
        n_never = int((checks.touched & ~checks.summed).sum())
        print(f"  rows ever touched {checks.touched.sum():,}, of which never summed {n_never:,}")
    return run


def compare(runs: dict[Arm, list[Run]], of: Callable[[Run], float], name: str) -> list[Figure]:
    """Errors of the arms, and the paired differences from dense plain sums with their 95 % intervals."""
    errors = {arm: np.array([of(run) for run in several]) for arm, several in runs.items()}
    plain = errors[Arm.PLAIN]
    noise = float(plain.std(ddof=1))
    for arm, found in errors.items():
        print(f"{name}, {arm}: mean {found.mean():.4f}, between seeds {found.std(ddof=1):.4f}")
    figures = [at_most(f"{name}: test error of dense plain sums (predicting the mean: 1)", float(plain.mean()), 0.9)]
    for arm in (Arm.SECURE, Arm.SPARSE):
        difference = errors[arm] - plain
        half = float(stats.t.ppf(0.975, plain.size - 1) * difference.std(ddof=1) / np.sqrt(plain.size))
        mean = float(difference.mean())
        print(f"{name}, {arm} less dense plain: {mean:+.4f}, 95 % interval {mean - half:+.4f} to {mean + half:+.4f}")
        label = f"{name}: {arm} less dense plain, {plain.size} seeds"
        figures.append(at_most(f"{label}, upper end of the 95 % interval", mean + half, MARGIN))
        figures.append(at_most(f"{label}, mean difference / spread between seeds", mean / noise, 1.0))
    return figures


def cost(runs: dict[Arm, list[Run]], n_rest: int) -> list[Figure]:
    """Bytes, rows and checks."""
    n_rows = float(np.mean([step.n_summed for run in runs[Arm.SPARSE] for step in run.steady]))
    n_touched = float(np.mean([step.n_touched for run in runs[Arm.SPARSE] for step in run.steady]))
    dense, thin = bytes_sent(Arm.SECURE, N_BITS, n_rest), bytes_sent(Arm.SPARSE, round(n_rows), n_rest)
    print(f"a partner sends {dense / 1e6:.1f} MB a step dense, {thin / 1e6:.2f} MB sparse")
    every = [run.checks for arm in (Arm.SECURE, Arm.SPARSE) for run in runs[arm]]
    n_checked = sum(checks.n_checked for checks in every)
    setting = f"{N_PARTNERS} partners, batch {BATCH}, minimum count {MIN_COUNT}"
    return [
        at_least(f"bytes a partner and step, {setting}: dense / sparse", dense / thin, 5.0),
        at_most(f"rows summed / rows touched in a step, {setting}", n_rows / n_touched, 0.5),
        at_most(
            f"sums under masks that differ from those without, of {n_checked}",
            sum(checks.n_different for checks in every),
            0,
        ),
        at_most("deviation from the float64 sum / error bound", max(checks.worst_error for checks in every), 1.0),
    ]


def main() -> None:
    """Train, compare, and save where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="under 50 CPU s: one seed, a few steps, no intervals")
    parser.add_argument("--save", action="store_true", help="write results/secagg_sparse.json")
    parser.add_argument("--mirror", help="directory with the raw files of KIBA and Biogen ADME")
    options = parser.parse_args()
    n_seeds, n_steps = (1, 3) if options.quick else (3, 80)
    split = split_of(*tables(options.mirror or os.environ.get("PHARMONIA_MIRROR")))
    n_values = np.isfinite(split.tasks.values[split.test]).sum(axis=0)
    print(
        f"{split.train.size:,} compounds to train on, {split.test.size:,} to test on; endpoints that count: "
        f"{(n_values[: split.n_kiba] >= MIN_TEST_VALUES).sum()} of KIBA, "
        f"{(n_values[split.n_kiba :] >= MIN_TEST_VALUES).sum()} of ADME; {n_steps} steps"
    )
    runs: dict[Arm, list[Run]] = {arm: [] for arm in Arm}
    for seed in range(1, n_seeds + 1):
        steps = {Arm.PLAIN: (), Arm.SECURE: (1, n_steps - 1)[: 2 * (seed == 1)], Arm.SPARSE: (0, 1, n_steps - 1)}
        for arm in Arm:
            checked = steps[arm][:1] if options.quick else steps[arm]
            runs[arm].append(train(split, arm, seed, n_steps, checked))
    n_tasks = split.tasks.values.shape[1]
    figures = [*cost(runs, N_HIDDEN + N_HIDDEN * n_tasks + n_tasks)]
    if not options.quick:
        figures += compare(runs, lambda run: run.kiba, "KIBA") + compare(runs, lambda run: run.adme, "Biogen ADME")
    publish("secagg_sparse", figures, save=options.save)


if __name__ == "__main__":
    main()
