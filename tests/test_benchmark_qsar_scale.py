"""Data at scale: rows are taken as by the plain formulas, and the benchmark's drawing, sums and picture are right."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import qsar_scale
from multitask_cases import PLAIN, partners
from pharmonia.chem.ecfp_matrix import CsrMatrix
from pharmonia.data.tasks import PreparedTasks
from pharmonia.learn.multitask_data import MultitaskRows, TaskPlaces, rows_of, task_places
from pharmonia.nn import sparse
from pharmonia.nn.heads import LabelRows
from pharmonia.nn.sparse import BitRows, row_places
from qsar_scale import figures_of, run_size, slopes
from qsar_scale_data import LOWEST_SEEN, N_ASSAYS, draw
from qsar_scale_plot import IMAGE, picture, table
from qsar_scale_runs import GROWING, RUNS, Phase, Run, read_runs, write_runs
from qsar_scale_sums import BATCHES, shared_rows

SMALL = replace(qsar_scale.SETTINGS, trunk=(32,), batch_size=100, learning_rate=3e-3, local_epochs=20)
Indices = npt.NDArray[np.int64]


def plain_take(bits: BitRows, rows: Indices) -> BitRows:
    indptr, places = row_places(bits.indptr, rows)
    return BitRows(indptr=indptr, indices=bits.indices[places], n_columns=bits.n_columns)


def plain_rows_of(prepared: PreparedTasks, places: TaskPlaces, chosen: Indices) -> MultitaskRows:
    """The formula that says what `rows_of` gives; sorts, and holds several numbers for each bit and label."""
    labels, features = prepared.labels, prepared.features
    compounds, row = np.unique(labels.compound[chosen], return_inverse=True)
    bits = BitRows(indptr=features.indptr, indices=features.indices, n_columns=features.n_columns)
    weight = np.array([task.weight for task in prepared.tasks], dtype=np.float32)
    censored = np.array([task.censored_weight for task in prepared.tasks], dtype=np.float32)
    parts = {}
    for name, size in places.sizes.items():
        inside = places.tasks_of(name)[labels.task[chosen]]
        mine, task = chosen[inside], labels.task[chosen[inside]]
        parts[name] = LabelRows(
            indptr=np.searchsorted(row[inside], np.arange(compounds.size + 1)).astype(np.int64),
            column=places.column[task],
            value=labels.value[mine],
            censor=labels.censor[mine],
            weight=weight[task] * np.where(labels.censor[mine] != 0, censored[task], np.float32(1)),
            n_columns=size,
        )
    return MultitaskRows(bits=plain_take(bits, compounds.astype(np.int64)), labels=parts)


def assert_same_bits(got: BitRows, expected: BitRows) -> None:
    assert got.n_columns == expected.n_columns
    for name in ("indptr", "indices"):
        one, other = getattr(got, name), getattr(expected, name)
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@given(seed=st.integers(0, 10**6), n_taken=st.integers(0, 40), block=st.sampled_from([1, 3, 8, 64]))
def test_rows_taken_in_blocks_are_those_taken_at_once(seed: int, n_taken: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 4, 12)
    bits = BitRows(
        indptr=np.concatenate(([0], np.cumsum(lengths))),
        indices=rng.integers(0, 9, lengths.sum(), dtype=np.int32),
        n_columns=9,
    )
    rows = rng.integers(0, 12, n_taken)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sparse, "_BLOCK_ROWS", block)
        assert_same_bits(bits.take(rows), plain_take(bits, rows))


@given(seed=st.integers(0, 10**6), share=st.sampled_from([0.0, 0.05, 0.6, 1.0]))
def test_rows_of_chosen_labels_are_those_of_the_plain_formula_to_the_bit(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    for prepared in partners(3):
        chosen = np.flatnonzero(rng.random(len(prepared.labels)) < share)
        places = task_places(prepared, PLAIN)
        got, expected = rows_of(prepared, places, chosen), plain_rows_of(prepared, places, chosen)
        assert_same_bits(got.bits, expected.bits)
        assert got.labels.keys() == expected.labels.keys()
        for name, part in got.labels.items():
            for field in ("indptr", "column", "value", "censor", "weight"):
                one, other = getattr(part, field), getattr(expected.labels[name], field)
                assert one.dtype == other.dtype
                np.testing.assert_array_equal(one, other)


def test_drawn_compounds_have_ascending_bits_come_in_series_and_resemble_them() -> None:
    drawn = draw(np.random.default_rng(0), 2000, 4096, 4.5)
    columns = drawn.columns  # whose constructor refuses rows that are not ascending
    assert columns.n_rows == drawn.series.size == 2000
    assert len(drawn.results) == 9000
    bits = [set(columns.row(row).tolist()) for row in range(2000)]
    neighbours = [len(bits[i] & bits[i + 1]) for i in np.flatnonzero(np.diff(drawn.series) == 0).tolist()]
    strangers = [len(bits[i] & bits[i + 1]) for i in np.flatnonzero(np.diff(drawn.series)).tolist()]
    assert np.mean(neighbours) > 1.5 * np.mean(strangers)


def test_drawn_results_differ_by_compound_and_the_weakest_are_bounds() -> None:
    results = draw(np.random.default_rng(0), 2000, 4096, 20.0).results
    assert ((results.value == LOWEST_SEEN) >= (results.qualifier < 0)).all()
    assert results.value.min() == LOWEST_SEEN
    assert 0.05 < (results.qualifier < 0).mean() < 0.2
    sizes = np.bincount(results.assay, minlength=N_ASSAYS)
    assert sizes.min() > 0
    assert sizes.max() > 8 * sizes.min()


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux says how large a process has been")
def test_a_run_prepares_trains_and_scores_what_it_drew(tmp_path: Path, small: None) -> None:
    run = run_size(3000, 6.0, tmp_path / "prepared", with_round=True)
    assert set(run.phases) == {*GROWING, "draw", "start", "round"}
    assert run.n_steps == -(-run.n_train // SMALL.batch_size)
    assert run.n_train < run.n_compounds == 3000
    assert run.n_train_labels < run.n_labels
    assert run.median_auroc > 0.55  # of 1,900 compounds there is little to learn
    assert run.cpu_s == pytest.approx(sum(run.phases[name].cpu_s for name in GROWING))
    assert 0 < run.phases["train"].peak_gb <= run.peak_gb


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The benchmark with a small network; the test's threads are as before."""
    monkeypatch.setattr(qsar_scale, "SETTINGS", SMALL)
    n_threads = torch.get_num_threads()
    yield
    torch.set_num_threads(n_threads)


def test_slopes_of_a_straight_line_are_one_and_a_step_shows_in_the_steepest() -> None:
    straight = [made_run(n, n / 100) for n in (10_000, 100_000, 1_000_000)]
    assert slopes(straight) == pytest.approx((1.0, 1.0))
    bent = [made_run(n, cpu_s) for n, cpu_s in ((10_000, 1.0), (100_000, 1.0), (1_000_000, 100.0))]
    assert slopes(bent) == pytest.approx((1.0, 2.0))


def made_run(n: int, cpu_s: float) -> Run:
    phase = Phase(cpu_s=cpu_s / len(GROWING), wall_s=1.0, peak_gb=1.0)
    return Run(
        n_compounds=n, n_bits_set=n, n_labels=n, n_tasks=1, n_train=n, n_train_labels=n, n_steps=1, disk_gb=1.0,
        median_auroc=0.5, median_r2=0.0, phases={**dict.fromkeys(GROWING, phase), "draw": phase},
    )  # fmt: skip


def test_rows_in_common_are_those_that_three_of_ten_partners_touch() -> None:
    n = 10 * max(BATCHES)
    bits = np.stack([np.zeros(n, dtype=np.int32), np.arange(1, n + 1, dtype=np.int32)], axis=1)  # one shared, one own
    columns = CsrMatrix(indptr=2 * np.arange(n + 1, dtype=np.int64), indices=bits.ravel(), n_columns=n + 1)
    found = shared_rows(columns, np.random.default_rng(0), n_steps=1)
    assert [one.batch for one in found] == list(BATCHES)
    for one in found:
        assert (one.n_touched, one.n_summed) == (one.batch + 1, 1)
    assert found[0].sparse_bytes(32_000, 2000) == 2 * 32_000 + 4 * 2000 * 2


def test_what_was_measured_reads_as_it_was_written(tmp_path: Path) -> None:
    measured = read_runs(RUNS)
    write_runs(tmp_path / "runs.json", measured)
    assert read_runs(tmp_path / "runs.json") == measured
    assert (tmp_path / "runs.json").read_bytes() == RUNS.read_bytes()


def test_the_picture_and_the_tables_of_the_page_are_those_of_the_measured_runs() -> None:
    measured = read_runs(RUNS)
    assert IMAGE.read_text(encoding="utf-8") == picture(measured.runs), "run python benchmarks/qsar_scale_plot.py"
    page = (IMAGE.parents[1] / "scale.md").read_text(encoding="utf-8")
    for text in (table(measured.runs), table([measured.many])):
        assert text in page, "run python benchmarks/qsar_scale_plot.py"


def test_the_measured_run_of_a_million_stays_within_its_goals() -> None:
    measured = read_runs(RUNS)
    assert measured.runs[-1].n_compounds > 0.99e6
    assert all(figure.met for figure in figures_of(measured.runs))
