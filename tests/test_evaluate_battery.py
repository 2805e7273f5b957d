"""Outcomes of a battery keep what they are given, as files too, and refuse what makes no sense."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from battery_cases import DIGEST, ROWS, made_up_cell, made_up_key, main_arms
from pharmonia.base.errors import DataFileError, InputError, MetricError
from pharmonia.evaluate.battery import TRAINED_BESIDE, ArmScore, BatteryArm, CellKey, CellOutcome, arm_score
from pharmonia.evaluate.battery_csv import (
    CURVES_COLUMNS,
    CURVES_FILE,
    RESULTS_COLUMNS,
    RESULTS_FILE,
    curves_csv,
    outcomes_from_csv,
    results_csv,
)
from pharmonia.evaluate.metrics import score

FULL = made_up_cell(made_up_key(), 3, main_arms(0.2), curve=(0.5, 0.25))
ROUND_0 = "kiba,iid,published,4,gin,batch,fedavg,3,0,0.5"
PUBLISHED = sorted(path.parent for path in (Path(__file__).parents[1] / "benchmarks/results").glob("*/curves.csv"))
EMPTY_CURVE = results_csv([replace(FULL, rounds_run=0, curve=np.empty(0))])

names = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=8)
floats = st.floats(0, 1e12, allow_subnormal=True)
units = st.none() | st.floats(0, 1)


@st.composite
def arm_scores(draw: st.DrawFn, arm: BatteryArm) -> ArmScore:
    return ArmScore(arm=arm, mse=draw(floats), ci=draw(units), pearson=draw(units), r2m=draw(units))


@st.composite
def cells(draw: st.DrawFn) -> CellOutcome:
    arms = draw(st.lists(st.sampled_from(BatteryArm), min_size=1, unique=True))
    curve = draw(st.lists(floats, max_size=4))
    counts = st.integers(0, 10**15)
    return CellOutcome(
        key=CellKey(
            dataset=draw(names),
            scenario=draw(names),
            protocol=draw(names),
            n_partners=draw(st.integers(1, 1000)),
            model=draw(names),
            norm=draw(names),
            method=draw(names),
        ),
        seed=draw(counts),
        n_test=draw(st.integers(2, 10**9)),
        test_rows_digest=draw(st.none() | st.text("0123456789abcdef", min_size=16, max_size=16)),
        scores=tuple(draw(arm_scores(arm)) for arm in sorted(arms, key=list(BatteryArm).index)),
        rounds_run=len(curve),
        n_params=draw(counts),
        bytes_to_partners=draw(counts),
        bytes_from_partners=draw(counts),
        cpu_s=draw(floats),
        wall_s=draw(floats),
        cpu_s_beside=draw(st.dictionaries(st.sampled_from(TRAINED_BESIDE), floats)),
        sum_error=draw(st.none() | floats),
        curve=np.array(curve),
        settings_digest=DIGEST,
    )


def plain(outcome: CellOutcome) -> tuple[object, ...]:
    values = (getattr(outcome, field.name) for field in fields(outcome))
    return tuple(
        value.tolist() if isinstance(value, np.ndarray) else dict(value) if isinstance(value, Mapping) else value
        for value in values
    )


def read(outcomes: Sequence[CellOutcome]) -> tuple[CellOutcome, ...]:
    return outcomes_from_csv(results_csv(outcomes), curves_csv(outcomes))


@settings(max_examples=60)
@given(outcomes=st.lists(cells(), max_size=4, unique_by=lambda cell: (cell.key, cell.seed)))
def test_what_is_written_is_read_back_to_the_last_bit(outcomes: list[CellOutcome]) -> None:
    expected = sorted(outcomes, key=lambda cell: (cell.key, cell.seed))
    assert [plain(cell) for cell in read(outcomes)] == [plain(cell) for cell in expected]


def test_the_files_do_not_depend_on_the_order_in_which_cells_finish() -> None:
    outcomes = [made_up_cell(made_up_key(n_partners=n), seed, main_arms(0.2)) for n in (8, 2) for seed in (1, 0)]
    assert results_csv(outcomes) == results_csv(outcomes[::-1])
    assert curves_csv(outcomes) == curves_csv(outcomes[::-1])
    assert [(cell.key.n_partners, cell.seed) for cell in read(outcomes)] == [(2, 0), (2, 1), (8, 0), (8, 1)]


def test_the_columns_of_results_are_golden() -> None:
    header, row = results_csv([FULL]).decode().splitlines()
    assert header.startswith(
        "dataset,scenario,protocol,n_partners,model,norm,method,seed,n_test,mse_alone,ci_alone,pearson_alone,r2m_alone,"
        "mse_ensemble,ci_ensemble,pearson_ensemble,r2m_ensemble,mse_ensemble_weighted,"
    )
    assert header.endswith(
        ",r2m_target_only,rounds_run,n_params,bytes_to_partners,bytes_from_partners,cpu_s,wall_s,sum_error,settings_digest"
        ",test_rows_digest,cpu_s_alone,cpu_s_distilled,cpu_s_pooled,cpu_s_ligand_only,cpu_s_target_only"
    )
    assert row == (
        "kiba,iid,published,4,gin,batch,fedavg,3,500,0.3,0.85,0.7,0.5,0.6,0.7,0.4,0.5,,,,,,,,,0.2,0.9,0.8,0.5,"
        "0.15,0.925,0.85,0.5,"
        f",,,,,,,,,,,,,,,,2,1200000,38400000,38400000,79.0,44.0,3.1e-07,{DIGEST},{ROWS},30.0,,30.0,,"
    )
    assert curves_csv([FULL]).decode() == (
        "dataset,scenario,protocol,n_partners,model,norm,method,seed,round,valid_mse\n"
        f"{ROUND_0}\nkiba,iid,published,4,gin,batch,fedavg,3,1,0.25\n"
    )


def test_names_with_commas_and_quotes_survive() -> None:
    key = replace(made_up_key(), dataset='my "own", data', method="=1+1")
    assert read([made_up_cell(key, 0, main_arms(0.2))])[0].key == key


def damage(column: str, value: str) -> bytes:
    header, row = results_csv([FULL]).decode().splitlines()
    cells = row.split(",")
    cells[RESULTS_COLUMNS.index(column)] = value
    return f"{header}\n{','.join(cells)}\n".encode()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("n_partners", "four", r"results.csv, row 2, column n_partners: expected a whole number from 0, got 'four'"),
        ("n_partners", "0", "row 2: n_partners must be at least 1"),
        ("seed", "-1", "row 2, column seed: expected a whole number"),
        ("seed", "9" * 5000, "row 2, column seed"),
        ("n_test", "٣", "row 2, column n_test"),
        ("mse_alone", "0,3", "row 2: expected 63 columns, got 64"),
        ("mse_alone", "nan", "row 2, column mse_alone: expected a finite number, got 'nan'"),
        ("mse_alone", "1_0", "row 2, column mse_alone: expected a finite number"),
        ("mse_alone", "-0.3", "row 2: mse_alone must be a finite number from 0 to inf, got -0.3"),
        ("mse_alone", "", "row 2, column ci_alone: expected nothing, as the arm has no MSE, got '0.85'"),
        ("ci_federated", "1.2", "row 2: ci_federated must be a finite number from 0 to 1, got 1.2"),
        ("cpu_s", "", "row 2, column cpu_s: expected a number, got ''"),
        ("sum_error", "-1e-9", "row 2: sum_error must be finite"),
        ("rounds_run", "3", r"row 2: curve must have one value for each of 3 rounds, got \(2,\)"),
        ("settings_digest", "short", "row 2: settings_digest must be 64 hexadecimal digits"),
        ("test_rows_digest", "0123", "row 2: test_rows_digest must be 16 hexadecimal digits"),
        ("cpu_s_alone", "-1", "row 2: cpu_s_alone must be finite, not negative"),
        ("cpu_s_pooled", "1 s", "row 2, column cpu_s_pooled: expected a number"),
        ("method", " fedavg", "row 2: method must be printable text without spaces around it"),
    ],
)
def test_a_damaged_result_is_refused_with_row_and_column(column: str, value: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        outcomes_from_csv(damage(column, value), curves_csv([FULL]))


def test_files_of_a_version_that_noted_less_are_read_without_it() -> None:
    n_kept = RESULTS_COLUMNS.index("settings_digest") + 1
    older = b"".join(b",".join(line.split(b",")[:n_kept]) + b"\n" for line in results_csv([FULL]).splitlines())
    (found,) = outcomes_from_csv(older, curves_csv([FULL]))
    assert plain(found) == plain(replace(FULL, test_rows_digest=None, cpu_s_beside={}))
    one_lost = results_csv([FULL]).replace(b",cpu_s_pooled", b"")
    with pytest.raises(DataFileError, match=r"missing \['cpu_s_pooled'\], unknown \[\]"):
        outcomes_from_csv(one_lost, curves_csv([FULL]))


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: folder.name)
def test_published_results_of_any_version_are_read_back_and_written_as_before(folder: Path) -> None:
    results, curves = ((folder / name).read_bytes() for name in (RESULTS_FILE, CURVES_FILE))
    outcomes = outcomes_from_csv(results, curves)
    n_columns = results.splitlines()[0].count(b",") + 1
    again = results_csv(outcomes).splitlines()
    assert [b",".join(line.split(b",")[:n_columns]) for line in again] == results.splitlines()
    assert curves_csv(outcomes) == curves


def test_curves_that_results_lack_are_refused() -> None:
    with pytest.raises(DataFileError, match=r"^curves.csv has CellKey.*seed 3, which"):
        outcomes_from_csv(results_csv([]), curves_csv([FULL]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda text: text.replace(text.splitlines()[1] + "\n", ""),
            "row 2, column round: expected 0, the cell's next, got '1'",
        ),
        (lambda text: text + text.splitlines()[-1] + "\n", "row 4, column round: expected 2, the cell's next, got '1'"),
        (lambda text: text[: text.rindex("0.25")], "row 3, column valid_mse: expected a number, got ''"),
        (lambda text: text.replace("0.25", "-1"), "results.csv, row 2: curve must be finite and not negative"),
        (lambda text: text.replace("valid_mse", "mse"), "curves.csv, row 1: .*missing .'valid_mse'., unknown .'mse'."),
        (lambda text: "", "curves.csv is empty"),
        (lambda text: text.replace("kiba", '"kiba'), "curves.csv is not a CSV file"),
    ],
)
def test_damaged_curves_are_refused(change: Callable[[str], str], message: str) -> None:
    damaged = change(curves_csv([FULL]).decode())
    with pytest.raises(DataFileError, match=message):
        outcomes_from_csv(results_csv([FULL]), damaged.encode())


def test_results_of_another_version_and_bytes_that_are_no_text_are_refused() -> None:
    results = results_csv([FULL])
    with pytest.raises(DataFileError, match=r"results.csv, row 1: .*missing \['mse_alone'\], unknown \['mae_alone'\]"):
        outcomes_from_csv(results.replace(b"mse_alone", b"mae_alone"), curves_csv([FULL]))
    swapped = results.replace(b"dataset,scenario", b"scenario,dataset")
    with pytest.raises(DataFileError, match="or in another order"):
        outcomes_from_csv(swapped, curves_csv([FULL]))
    with pytest.raises(DataFileError, match="UTF-8"):
        outcomes_from_csv(b"\xff\xfe", curves_csv([FULL]))
    with pytest.raises(DataFileError, match="appears twice"):
        outcomes_from_csv(EMPTY_CURVE + EMPTY_CURVE.splitlines(keepends=True)[1], curves_csv([]))


@given(at=st.integers(0, 10_000), to=st.integers(0, 255))
@settings(max_examples=200)
def test_any_changed_byte_gives_outcomes_or_a_clear_error(at: int, to: int) -> None:
    damaged = bytearray(results_csv([FULL]))
    damaged[at % len(damaged)] = to
    with contextlib.suppress(DataFileError):
        outcomes_from_csv(bytes(damaged), curves_csv([FULL]))


def test_a_cell_given_twice_is_refused() -> None:
    with pytest.raises(MetricError, match="seed 3 appears twice"):
        results_csv([FULL, FULL])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": ()}, "at least one"),
        ({"scores": (FULL.scores[0], FULL.scores[0])}, "at most once"),
        ({"n_test": 1}, "n_test at least 2"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"wall_s": float("inf")}, "wall_s must be finite"),
        ({"curve": np.array([0.1, np.nan])}, "curve must be finite"),
        ({"curve": np.array([0.1])}, "each of 2 rounds"),
        ({"test_rows_digest": "x" * 16}, "test_rows_digest must be 16"),
        ({"cpu_s_beside": {BatteryArm.ENSEMBLE: 1.0}}, "cpu_s_ensemble must be .* of an arm that trains"),
    ],
)
def test_an_outcome_that_makes_no_sense_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(MetricError, match=message):
        replace(FULL, **change)  # type: ignore[arg-type]


def test_a_curve_cannot_be_changed_from_outside() -> None:
    values = np.array([0.5, 0.25])
    outcome = replace(FULL, curve=values)
    values[0] = 9.0
    assert outcome.curve.tolist() == [0.5, 0.25]
    assert not outcome.curve.flags.writeable


def test_scores_of_constant_measurements_keep_their_mse() -> None:
    kept = arm_score(BatteryArm.ALONE, score([1.0, 1.0, 1.0], [1.0, 2.0, 1.0]))
    assert kept == ArmScore(arm=BatteryArm.ALONE, mse=1 / 3, ci=None, pearson=None, r2m=None)


def test_a_scenario_gives_its_kind_and_parameter() -> None:
    assert (made_up_key("weak:0.3").kind, made_up_key("weak:0.3").parameter) == ("weak", 0.3)
    assert np.isnan(made_up_key("iid").parameter)
    assert len(CURVES_COLUMNS) == 10
