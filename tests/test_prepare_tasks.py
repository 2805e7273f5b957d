"""Results to tasks: thresholds, classes, quorums and weights by hand, and against plain rules."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pharmonia.base.errors import DataFileError
from pharmonia.chem.ecfp_matrix import stack_rows
from pharmonia.data.assays import Assay, AssayType, CatalogueTask, Direction, Results
from pharmonia.data.assays_replicates import join_results
from pharmonia.data.recipe_profile import PrepareProfile, ThresholdRule
from pharmonia.data.tasks import Labels, PreparedTasks, Task, TaskKind
from pharmonia.data.tasks_build import BuiltTasks, build_tasks
from pharmonia.data.tasks_candidates import censored_weight
from pharmonia.data.tasks_thresholds import class_labels, thresholds_of
from prepare_cases import SIGNS, assay, results

PROFILE = PrepareProfile()
EASY = replace(PROFILE, min_fold_std=-1.0)  # small cases have folds without results


def cuts(
    one: Assay, values: list[float], signs: str = "", catalogue: tuple[CatalogueTask, ...] = ()
) -> list[tuple[float, str]]:
    qualifiers = np.array([SIGNS[sign] for sign in signs or "=" * len(values)], dtype=np.int8)
    found = thresholds_of(one, np.array(values, dtype=np.float64), qualifiers, PROFILE, catalogue)
    return [(round(cut.value, 9), cut.method.value) for cut in found]


HALVES = [9.0] * 30 + [4.0] * 30


@pytest.mark.parametrize(
    ("one", "values", "expected"),
    [
        (assay(expert_thresholds=(6.0,)), HALVES, [(6.0, "expert"), (5.5, "aux-low"), (6.5, "aux-high")]),
        (
            assay(expert_thresholds=(5.0, 6.0, 7.0)),
            HALVES,
            [(5.0, "expert"), (6.0, "expert"), (7.0, "expert"), (4.5, "aux-low"), (7.5, "aux-high")],
        ),
        (assay(expert_thresholds=(4.0, 5.0, 6.0, 7.0)), HALVES, [(v, "expert") for v in (4.0, 5.0, 6.0, 7.0)]),
        (assay(), HALVES, [(8.0, "fixed-adaptive"), (7.5, "aux-low"), (8.5, "aux-high")]),
        (assay(), [6.5] * 30 + [4.0] * 30, [(6.0, "fixed-adaptive"), (5.5, "aux-low"), (6.5, "aux-high")]),
        (assay(), [6.0, 5.0, 4.0], [(5.0, "median"), (4.5, "aux-low"), (5.5, "aux-high")]),
        (assay(kind=AssayType.ADME, direction=Direction.HIGH), [1, 2, 3, 4, 5], [(3.0, "median"), (4.0, "quartile")]),
        (assay(kind=AssayType.ADME, direction=Direction.LOW), [1, 2, 3, 4, 5], [(3.0, "median"), (2.0, "quartile")]),
        (assay(kind=AssayType.ADME), [1, 2, 3, 4, 5], [(3.0, "median"), (4.0, "quartile")]),
        (assay(kind=AssayType.ADME), [1, 1, 1], [(1.0, "median")]),
        (assay(kind=AssayType.ADME), [1], []),
        (assay(kind=AssayType.ADME, expert_thresholds=(2.0,)), [1, 2, 3], [(2.0, "expert")]),
        (assay(kind=AssayType.AUX_HTS, direction=Direction.LOW), [1], [(-3.0, "fixed")]),
        (assay(kind=AssayType.AUX_HTS), [1], [(3.0, "fixed")]),
        (assay(kind=AssayType.AUX_PL), [1], []),
        (assay(kind=AssayType.AUX_PL, is_binary=True), [1], [(0.0, "binary")]),
    ],
)
def test_thresholds_follow_the_rules_of_their_type(
    one: Assay, values: list[float], expected: list[tuple[float, str]]
) -> None:
    assert cuts(one, values) == expected


def test_the_fallback_median_counts_qualified_results_beyond_their_bounds() -> None:
    shifted = round(5.0 + math.log10(2.0), 9)
    assert cuts(assay(), [4.0, 5.0, 6.0], "=>=")[0] == (shifted, "median")


def test_quantiles_leave_qualified_results_out() -> None:
    assert cuts(assay(kind=AssayType.ADME), [1, 2, 3, 100], "===>")[0] == (2.0, "median")


@pytest.mark.parametrize(
    ("direction", "sign", "value", "expected"),
    [
        (Direction.HIGH, "=", 6.0, 1), (Direction.HIGH, "=", 5.9, 0), (Direction.HIGH, ">", 6.0, 1),
        (Direction.HIGH, ">", 5.9, -1), (Direction.HIGH, "<", 6.1, -1), (Direction.HIGH, "<", 6.0, 0),
        (Direction.HIGH, "<", 5.9, 0), (Direction.EITHER, "=", 6.0, 1), (Direction.EITHER, "=", 5.9, 0),
        (Direction.LOW, "=", 6.0, 1), (Direction.LOW, "=", 6.1, 0), (Direction.LOW, "<", 6.0, 1),
        (Direction.LOW, "<", 6.1, -1), (Direction.LOW, ">", 5.9, -1), (Direction.LOW, ">", 6.0, 0),
        (Direction.LOW, ">", 6.1, 0),
    ],
)  # fmt: skip
def test_a_qualified_result_has_a_class_only_where_its_bound_decides(
    direction: Direction, sign: str, value: float, expected: int
) -> None:
    one = assay(direction=direction)
    labels = class_labels(np.array([value]), np.array([SIGNS[sign]], np.int8), 6.0, one, ThresholdRule.DOSE_RESPONSE)
    assert labels.tolist() == [expected]


@pytest.mark.parametrize("direction", list(Direction))
def test_of_a_binary_assay_1_is_active_whatever_its_direction(direction: Direction) -> None:
    one = assay(is_binary=True, direction=direction)
    labels = class_labels(np.array([1.0, -1.0]), np.zeros(2, np.int8), 0.0, one, ThresholdRule.NONE)
    assert labels.tolist() == [1, 0]


def test_screening_results_are_taken_by_side_or_size() -> None:
    values, none = np.array([-4.0, -3.0, 0.0, 3.0, 4.0]), np.zeros(5, np.int8)
    for direction, cut, expected in (
        (Direction.HIGH, 3.0, [0, 0, 0, 1, 1]),
        (Direction.LOW, -3.0, [1, 1, 0, 0, 0]),
        (Direction.EITHER, 3.0, [1, 1, 0, 1, 1]),
    ):
        one = assay(kind=AssayType.AUX_HTS, direction=direction)
        assert class_labels(values, none, cut, one, ThresholdRule.FIXED).tolist() == expected


def balanced(n_per_fold: int, which: int = 0, spread: float = 1.0, first: int = 0) -> list[tuple[int, int, str, float]]:
    """In each of five folds, results alternately above and below 6."""
    rows = []
    for number in range(5 * n_per_fold):
        high = (number // 5) % 2 == 0
        rows.append((first + number, which, "=", (7.0 if high else 5.0) + spread * (number % 7) / 10))
    return rows


def folds(n: int) -> np.ndarray[tuple[int], np.dtype[np.int8]]:
    return (np.arange(n) % 5).astype(np.int8)


def build(
    rows: Results,
    assays: tuple[Assay, ...],
    n: int,
    profile: PrepareProfile = PROFILE,
    catalogue: tuple[CatalogueTask, ...] = (),
) -> BuiltTasks:
    joined = join_results(rows, assays, profile).results
    return build_tasks(joined, assays, folds(n), profile, catalogue)


def test_an_assay_becomes_its_tasks_and_labels() -> None:
    one = assay("kinase", expert_thresholds=(6.0,))
    built = build(results(balanced(60)), (one,), 300)
    kinds = [(task.task_id, task.kind, task.weight, task.aggregation_weight) for task in built.tasks]
    third = 1 / 3
    assert kinds == [
        ("classification|kinase|expert|6.0", TaskKind.CLASSIFICATION, third, 1.0),
        ("classification|kinase|aux-low|5.5", TaskKind.CLASSIFICATION, third, 0.0),
        ("classification|kinase|aux-high|6.5", TaskKind.CLASSIFICATION, third, 0.0),
        ("regression|kinase", TaskKind.REGRESSION, 1.0, 1.0),
    ]
    labels = built.labels
    assert len(labels) == 4 * 300
    assert labels.task[:4].tolist() == [0, 1, 2, 3]
    assert labels.value[:4].tolist() == [1.0, 1.0, 1.0, 7.0]


def test_a_task_under_its_quorum_is_told_and_not_trained() -> None:
    built = build(results(balanced(8)), (assay("small", expert_thresholds=(6.0,)),), 40, EASY)
    assert built.tasks == ()
    assert {one.task_id: one.refusal for one in built.candidates}["regression|small"] == "40 results, 50 are needed"
    assert built.candidates[0].refusal == "20 actives and 20 inactives, 25 and 25 are needed"


def test_a_task_of_one_class_is_told() -> None:
    built = build(results(balanced(20)), (assay("flat", expert_thresholds=(3.5,), use_in_regression=False),), 100)
    assert built.candidates[0].refusal == "one class only: 100 actives, 0 inactives"


def test_a_fold_without_labels_keeps_a_task_from_being_scored() -> None:
    rows = [row for row in balanced(60) if row[0] % 5 != 3]
    built = build(results(rows), (assay("gap", expert_thresholds=(6.0,)),), 300, EASY)
    reasons = {one.task_id: one.not_evaluated for one in built.candidates}
    assert reasons["classification|gap|expert|6.0"] == "fold 3 has 0 actives and 0 inactives, 10 and 10 count"
    assert reasons["regression|gap"] == "fold 3 has 0 unqualified results, 25 count"
    assert {task.aggregation_weight for task in built.tasks} == {0.0}
    assert [task.auxiliary for task in built.tasks] == [False, True, True, False]  # what is too scarce is no auxiliary


def test_an_assay_that_does_not_vary_in_a_fold_makes_no_task() -> None:
    rows = [(c, a, s, 5.0 if c % 5 == 2 else v) for c, a, s, v in balanced(60)]
    built = build(results(rows), (assay("stuck"),), 300)
    assert built.refused == (
        ("stuck", "in fold 2 its results do not vary, or there are fewer than two (min_fold_std 1e-12)"),
    )


def test_results_that_vary_little_are_trained_but_not_scored() -> None:
    rows = [(c, a, s, 6.0 + (v - 6.0) / 10) for c, a, s, v in balanced(60)]
    built = build(results(rows), (assay("narrow"),), 300)
    regression = next(one for one in built.candidates if one.kind is TaskKind.REGRESSION)
    assert regression.is_kept
    assert regression.not_evaluated.startswith("the standard deviation in fold 0 is 0.1")


SHARED = (
    CatalogueTask(catalogue_id="hERG", task_id="hERG-5", threshold=6.0, auxiliary=False),
    CatalogueTask(catalogue_id="hERG", task_id="hERG-6", threshold=7.05, auxiliary=True),
)


def test_a_panel_of_the_catalogue_makes_the_tasks_that_partners_share() -> None:
    panel = assay("my-herg", AssayType.CATALOG_PANEL, catalogue_id="hERG")
    built = build(results(balanced(100)), (panel,), 500, catalogue=SHARED)
    kept = [(task.task_id, task.catalogue_id, task.aggregation_weight) for task in built.tasks]
    assert kept == [
        ("catalogue|hERG-5", "hERG-5", 1.0),
        ("catalogue|hERG-6", "hERG-6", 0.0),
        ("regression|my-herg", None, 1.0),
    ]


def test_a_panel_under_the_catalogues_quorum_is_the_partners_own() -> None:
    panel = assay("my-herg", AssayType.CATALOG_PANEL, catalogue_id="hERG")
    built = build(results(balanced(60)), (panel,), 300, catalogue=SHARED)
    assert [task.catalogue_id for task in built.tasks] == [None] * 3
    assert built.tasks[0].assay_type is AssayType.NON_CATALOG_PANEL


def test_a_catalogue_task_of_one_class_is_told_and_not_trained() -> None:
    panel = assay("my-herg", AssayType.CATALOG_PANEL, catalogue_id="hERG")
    high = CatalogueTask(catalogue_id="hERG", task_id="hERG-12", threshold=12.0, auxiliary=False)
    built = build(results(balanced(100)), (panel,), 500, catalogue=(high,))
    assert built.candidates[0].refusal == "one class only: 0 actives, 500 inactives"
    assert [task.kind for task in built.tasks] == [TaskKind.REGRESSION]


def test_a_panel_that_the_catalogue_lacks_follows_the_rules_of_a_partners_own() -> None:
    panel = assay("odd", AssayType.CATALOG_PANEL, catalogue_id="nobody's")
    built = build(results(balanced(60)), (panel,), 300, catalogue=SHARED)
    assert {task.assay_type for task in built.tasks} == {AssayType.NON_CATALOG_PANEL}
    assert built.candidates[0].method == "fixed-adaptive"


def test_auxiliary_assays_weigh_a_tenth_and_never_score_wherever_they_stand() -> None:
    rows = balanced(40) + [(c, 1, s, v) for c, _, s, v in balanced(40)]
    rules = {**PROFILE.rules, AssayType.AUX_HTS: replace(PROFILE.rules[AssayType.AUX_HTS], n_inactive=10)}
    cut = replace(PROFILE.thresholds, fixed=6.0)
    profile = replace(PROFILE, rules=rules, thresholds=cut)
    built = build(results(rows), (assay("own"), assay("screen", AssayType.AUX_HTS)), 200, profile)
    screens = [task for task in built.tasks if task.assay_id == "screen"]
    assert [(task.kind.value, task.weight, task.aggregation_weight) for task in screens] == [
        ("classification", 0.1, 0.0),
        ("regression", 0.1, 0.0),
    ]


@given(fraction=st.floats(0.051, 0.999), barrier=st.just(0.05))
def test_qualified_results_weigh_the_barriers_share_in_all(fraction: float, barrier: float) -> None:
    weight = censored_weight(fraction, barrier)
    assert fraction * weight / (fraction * weight + 1 - fraction) == pytest.approx(barrier)
    assert censored_weight(barrier, barrier) == 1.0


@given(
    signs=st.lists(st.sampled_from("<=>"), min_size=1, max_size=30),
    cut=st.integers(-2, 2).map(float),
    direction=st.sampled_from(list(Direction)),
    seed=st.integers(0, 99),
)
@settings(max_examples=100)
def test_classes_are_those_of_every_value_that_a_bound_allows(
    signs: list[str], cut: float, direction: Direction, seed: int
) -> None:
    values = np.random.default_rng(seed).integers(-3, 4, len(signs)).astype(np.float64)
    one = assay(direction=direction)
    made = class_labels(values, np.array([SIGNS[s] for s in signs], np.int8), cut, one, ThresholdRule.DOSE_RESPONSE)
    for label, value, sign in zip(made.tolist(), values.tolist(), signs, strict=True):
        true_values = {"=": [value], "<": [value - 1e-9, value - 99], ">": [value + 1e-9, value + 99]}[sign]
        if sign == ">" and direction is not Direction.LOW and value == cut:
            true_values = [value]
        low = direction is Direction.LOW
        classes = {true <= cut if low else true >= cut for true in true_values}
        assert label == (-1 if len(classes) == 2 else int(classes.pop()))


def task(name: str = "t") -> Task:
    return Task(
        task_id=name, assay_id="a", kind=TaskKind.REGRESSION, assay_type=AssayType.OTHER,
        weight=1.0, aggregation_weight=1.0, auxiliary=False, censored_weight=1.0, catalogue_id=None,
    )  # fmt: skip


def test_an_auxiliary_task_that_counts_is_refused() -> None:
    with pytest.raises(DataFileError, match="never count"):
        replace(task(), auxiliary=True)


def labels(compound: list[int], which: list[int], value: list[float] | None = None) -> Labels:
    return Labels(
        compound=np.array(compound, np.int32),
        task=np.array(which, np.int32),
        value=np.array(value or [0.0] * len(compound), np.float32),
        censor=np.zeros(len(compound), np.int8),
    )


@pytest.mark.parametrize(
    ("compound", "which", "value"),
    [([1, 0], [0, 0], None), ([0, 0], [1, 0], None), ([0, 0], [0, 0], None), ([0], [0], [math.nan])],
)
def test_labels_unsorted_repeated_or_not_finite_are_refused(
    compound: list[int], which: list[int], value: list[float] | None
) -> None:
    with pytest.raises(DataFileError):
        labels(compound, which, value)


def prepared(one: Labels, fold: list[int], tasks: tuple[Task, ...]) -> PreparedTasks:
    features = stack_rows([np.array([0], np.int32)] * len(fold), 4)
    return PreparedTasks(
        recipe_digest="0" * 64, features=features, fold=np.array(fold, np.int8), n_folds=2, tasks=tasks, labels=one
    )


def test_labels_of_folds_are_found() -> None:
    made = prepared(labels([0, 1, 2], [0, 0, 0]), [0, 1, 0], (task(),))
    assert made.in_folds((0,)).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("one", "fold", "tasks"),
    [
        (labels([3], [0]), [0, 1, 0], (task(),)),
        (labels([0], [1]), [0, 1, 0], (task(),)),
        (labels([0], [0]), [0, 2, 0], (task(),)),
        (labels([0], [0]), [0, 1, 0], (task(), task())),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(one: Labels, fold: list[int], tasks: tuple[Task, ...]) -> None:
    with pytest.raises(DataFileError):
        prepared(one, fold, tasks)
