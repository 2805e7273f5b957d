"""Concordance index and paired bootstrap against their plain forms, interleaved in one run.

Run: python benchmarks/metrics.py [--quick]. Ratios are of processor time, plain over ours; the last line is JSON.
"""

import argparse

import numpy as np
from scipy import stats

from figures import Figure, at_least, at_most, cpu_s, publish
from pharmonia.base.arrays import Vector
from pharmonia.evaluate.bootstrap import Counts, Resampler, resample_counts
from pharmonia.evaluate.gain import compare_arms
from pharmonia.evaluate.metrics import Metric, PairCount, count_pairs, score
from pharmonia.evaluate.outcome import Holding, Holdings, SeedOutcome

KIBA_TEST_ROWS = 19_709


def plain_pairs(y: Vector, f: Vector) -> PairCount:
    """The definition, all pairs of one row at a time: O(n^2)."""
    comparable = concordant = tied = 0
    for i in range(y.size):
        below = y < y[i]
        comparable += int(below.sum())
        concordant += int((below & (f < f[i])).sum())
        tied += int((below & (f == f[i])).sum())
    return PairCount(n_comparable=comparable, n_concordant=concordant, n_tied=tied)


def plain_bootstrap(y: Vector, f: Vector, counts: Counts) -> Vector:
    """Every resample written out and scored on its own; concordance by the O(n^2) definition."""
    rows = []
    for column in counts.T:
        drawn = np.repeat(np.arange(y.size), column)
        plain = plain_pairs(y[drawn], f[drawn])
        residual = y[drawn] - f[drawn]
        rows.append((float(residual @ residual) / drawn.size, plain.index, stats.pearsonr(y[drawn], f[drawn])[0]))
    return np.array(rows).T


def sample(n_rows: int) -> tuple[Vector, Vector]:
    """Values like KIBA's, with its ties, and predictions of them."""
    rng = np.random.default_rng(1)
    y = np.round(rng.gamma(2.2, 0.55, size=n_rows) + 10.6, 1)
    return y, (y + rng.normal(0, 0.5, n_rows)).round(4)


def kiba_like(n_partners: int) -> SeedOutcome:
    """An outcome of the size of KIBA's published test fold."""
    rng = np.random.default_rng(2)
    y, pooled = sample(KIBA_TEST_ROWS)
    owner = rng.integers(0, n_partners, y.size).astype(np.int16)
    names = tuple(f"partner-{i}" for i in range(n_partners))
    held = tuple(Holding(partner=n, n_train=9, n_valid=1, n_test=1, n_compounds=5, n_targets=5) for n in names)
    five = np.full((n_partners, n_partners), 5, dtype=np.int64)
    return SeedOutcome(
        seed=1,
        partners=names,
        test_rows=np.arange(y.size),
        measured=y,
        owner=owner,
        alone=y + rng.normal(0, 0.7, (n_partners, y.size)),
        pooled=pooled,
        federated=y + rng.normal(0, 0.55, y.size),
        holdings=Holdings(partners=held, shared_compounds=five, shared_targets=five),
        curves=(),
        costs=(),
    )


def measure_pairs(n_rows: int) -> tuple[Figure, float]:
    """Ratio of the plain count of pairs to ours, checked to be the same integers; our seconds for a million rows."""
    y, f = sample(n_rows)
    if plain_pairs(y[:2000], f[:2000]) != count_pairs(y[:2000], f[:2000]):
        raise SystemExit("count_pairs differs from the definition")
    ratio = cpu_s(lambda: plain_pairs(y, f)) / cpu_s(lambda: count_pairs(y, f), 5)
    figure = at_least(f"concordance index, {n_rows:,} rows: plain / ours", ratio, 50.0)
    return figure, cpu_s(lambda: count_pairs(*sample(1_000_000)))


def measure_bootstrap(n_rows: int, n_plain: int) -> tuple[Figure, float]:
    """Ratio per resample of the plain bootstrap to ours, checked to be equal; and to n log n in a loop."""
    y, f = sample(n_rows)
    counts = resample_counts(np.random.default_rng(3), n_rows, 1000)
    ours = cpu_s(lambda: Resampler(y, counts).metrics(f)) / counts.shape[1]
    few = np.ascontiguousarray(counts[:, :n_plain])
    plain = cpu_s(lambda: plain_bootstrap(y, f, few)) / n_plain
    np.testing.assert_allclose(Resampler(y, few).metrics(f)[:3], plain_bootstrap(y, f, few), rtol=1e-9)

    def loop() -> None:
        for column in few.T:
            drawn = np.repeat(np.arange(n_rows), column)
            score(y[drawn], f[drawn])

    name = f"bootstrap of {len(Metric)} metrics, {n_rows:,} rows: plain / ours"
    return at_least(name, plain / ours, 50.0), cpu_s(loop) / n_plain / ours


def main() -> None:
    """Measure, print a line per figure, then the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under 50 s on one core")
    parser.add_argument("--save", action="store_true", help="write results/metrics.json")
    options = parser.parse_args()
    quick = options.quick
    pairs, million_s = measure_pairs(KIBA_TEST_ROWS if not quick else 8000)
    bootstrap, over_loop = measure_bootstrap(4000, 5 if quick else 20)
    outcome = kiba_like(2 if quick else 8)
    n_predictions = len(outcome.partners) + 4  # each alone, and four arms over everyone's rows
    whole_s = cpu_s(lambda: compare_arms([outcome], np.random.default_rng(4), 1000))
    figures = [
        pairs,
        at_most("concordance index, 1,000,000 rows: CPU s", million_s, 5.0),
        bootstrap,
        at_least("bootstrap, 4,000 rows: n log n metrics in a loop / ours", over_loop, 5.0),
        at_most("whole comparison, 19,709 rows x 1,000 resamples: CPU s per arm", whole_s / n_predictions, 5.0),
    ]
    print(f"whole comparison of {len(outcome.partners)} partners: {whole_s:.1f} CPU s")
    publish("metrics", figures, save=options.save)


if __name__ == "__main__":
    main()
