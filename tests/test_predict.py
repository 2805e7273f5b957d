"""A bundle predicts new structures as the platform would have, says how sure it is, and refuses what differs."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.csv as pa_csv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle_cases import SMILES, as_catalogue, few_references, home_of
from pharmonia.base.errors import BundleError, MetricError, RecipeError, UnknownNameError
from pharmonia.chem.keyed import PreparationKey
from pharmonia.chem.standardise_qsar_settings import Refusal
from pharmonia.data.tasks import TaskKind
from pharmonia.run.bundle import write_bundle
from pharmonia.run.bundle_export import TrainedPartner
from pharmonia.run.predict import NO_SET, SETS, Predictor, require_chemistry
from pharmonia.run.predict_check import check_folder, check_predictions
from pharmonia.run.predict_domain import DomainState
from pharmonia.run.prepare_files import COMPOUND_ROWS, open_prepared, write_prepared
from predict_cases import partner_with_bundle, predictor_at
from prepare_cases import KEY

BAD = {
    "": Refusal.EMPTY,
    "CC(": Refusal.UNREADABLE,
    "CC\x00": Refusal.UNREADABLE,
    "CC\x01O": Refusal.UNREADABLE,
    "CC\N{CYRILLIC CAPITAL LETTER O}": Refusal.UNREADABLE,
    "CC\N{EN DASH}O": Refusal.UNREADABLE,
    "C C": Refusal.SPACE,
    "*CC": Refusal.POLYMER,
    "C" * 120: Refusal.TOO_LARGE,
    "c1ccccc1CCCCCCCCCCCC.C1CCCCC1CCCCCCCCCCCC": Refusal.MIXTURE,
    "C" * 6000: Refusal.TOO_LONG,
}

FOREIGN = "FC1(F)C(F)(F)C1(I)S[Si](C)(C)P(Br)Br"


@pytest.fixture(autouse=True)
def references(monkeypatch: pytest.MonkeyPatch) -> None:
    few_references(monkeypatch)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return home_of(tmp_path_factory)


@pytest.fixture(scope="module")
def partner(home: Path) -> TrainedPartner:
    return partner_with_bundle(home)


@pytest.fixture(scope="module")
def predictor(home: Path, partner: TrainedPartner) -> Iterator[Predictor]:
    with predictor_at(home) as opened:
        yield opened


def platform_row(partner: TrainedPartner, home: Path, smiles: str) -> int:
    """Row of the prepared matrix that a listed structure became."""
    listed = pa_csv.read_csv(home / "prepared" / "compounds.csv").to_pydict()
    return int(listed["row"][listed["input_compound_id"].index(smiles)])


def test_from_a_structure_comes_what_the_platform_predicted(
    predictor: Predictor, partner: TrainedPartner, home: Path
) -> None:
    found = predictor.predict(SMILES)
    platform = np.load(home / "predictions.npy")
    labels = partner.prepared.labels
    rows = np.array([platform_row(partner, home, text) for text in SMILES])
    place = {int(row): number for number, row in enumerate(rows)}
    compared = 0
    for compound, task, value in zip(labels.compound, labels.task, platform, strict=True):
        np.testing.assert_allclose(found.predicted[place[int(compound)], task], value, rtol=1e-5, atol=1e-6)
        compared += 1
    assert compared == len(platform) > 500


def test_sets_intervals_and_domain_are_those_of_the_calibration(predictor: Predictor, partner: TrainedPartner) -> None:
    found = predictor.predict(SMILES[:40], error_rate=0.3)
    bundle = predictor.bundle.contents
    for number, task in enumerate(found.tasks):
        p_values = np.stack([found.p_inactive[:, number], found.p_active[:, number]], axis=1)
        if task.kind is TaskKind.REGRESSION:
            half = bundle.regression.half_width(0.3)[number]
            np.testing.assert_allclose(found.upper[:, number] - found.predicted[:, number], half, rtol=1e-4)
            np.testing.assert_allclose(found.predicted[:, number] - found.lower[:, number], half, rtol=1e-4)
            assert np.isnan(p_values).all()
            assert (found.sets[:, number] == NO_SET).all()
            expected = (found.domain_p > 0.3) & np.isfinite(half)
        else:
            column = np.full(len(found), number, dtype=np.int32)
            np.testing.assert_array_equal(
                p_values, bundle.classification.p_values(column, found.predicted[:, number].copy())
            )
            assert np.isnan(found.lower[:, number]).all()
            inside = p_values > 0.3
            words = [SETS[code] for code in found.sets[:, number]]
            assert words == [{(0, 0): "none", (1, 0): "inactive", (0, 1): "active", (1, 1): "both"}[int(a), int(b)]
                             for a, b in inside]  # fmt: skip
            expected = (inside.sum(axis=1) == 1) & (found.domain_p > 0.3)
        np.testing.assert_array_equal(found.in_domain[:, number], expected)


def test_a_structure_that_cannot_be_read_has_its_reason_and_its_place(predictor: Predictor) -> None:
    texts = [text for bad in BAD for text in (bad, "Cc1ccccc1")]
    found = predictor.predict(texts)
    alone = predictor.predict(["Cc1ccccc1"])
    assert len(found) == len(texts)
    for number, text in enumerate(texts):
        assert found.forms[number] == BAD.get(text, alone.forms[0])
        assert bool(found.reason(number)) == (text in BAD)
        if text in BAD:
            assert np.isnan(found.predicted[number]).all()
            assert np.isnan(found.novelty[number])
            assert not found.in_domain[number].any()
            assert (found.sets[number] == NO_SET).all()
        else:
            np.testing.assert_allclose(found.predicted[number], alone.predicted[0], rtol=1e-5)


@pytest.mark.parametrize("texts", [[], ["CC("], ["", ""]])
def test_nothing_to_predict_is_no_error(predictor: Predictor, texts: list[str]) -> None:
    found = predictor.predict(texts)
    assert found.predicted.shape == (len(texts), len(found.tasks))
    assert np.isnan(found.predicted).all()


@settings(max_examples=10)
@given(order=st.permutations(list(range(12))), cut=st.integers(0, 12))
def test_a_compounds_prediction_does_not_depend_on_its_company(
    predictor: Predictor, order: list[int], cut: int
) -> None:
    texts = [SMILES[i] for i in order[:cut]]
    together, whole = predictor.predict(texts), predictor.predict(SMILES[:12])
    np.testing.assert_allclose(together.predicted, whole.predicted[order[:cut]], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(together.novelty, whole.novelty[order[:cut]])


def test_compounds_trained_on_are_known_and_foreign_ones_are_not_in_domain(
    predictor: Predictor, partner: TrainedPartner, home: Path
) -> None:
    trained = [text for text in SMILES if partner.prepared.fold[platform_row(partner, home, text)] == 0]
    found = predictor.predict([*trained, FOREIGN], error_rate=0.9)
    assert (found.novelty[:-1] == 0).all()
    assert (found.domain_p[:-1] == 1).all()
    assert found.novelty[-1] > 0.5
    assert found.domain_p[-1] < 0.9
    assert not found.in_domain[-1].any()


def test_a_value_without_bounds_is_not_in_domain(predictor: Predictor, partner: TrainedPartner) -> None:
    n_values = max(np.diff(predictor.bundle.contents.regression.offsets))
    strict = 0.999 / (n_values + 1)
    found = predictor.predict(SMILES[:20], error_rate=strict, tasks=("regression|kinase",))
    assert np.isinf(found.upper).all()
    assert not found.in_domain.any()


def test_where_nobody_could_be_called_foreign_nobody_is_in_domain(predictor: Predictor) -> None:
    domain = predictor.bundle.contents.domain
    assert domain is not None
    least = 1 / (domain.novelty.size + 1)
    assert predictor.domain_state(least) is DomainState.JUDGED
    strict = predictor.predict(SMILES, error_rate=0.99 * least)
    assert strict.domain is DomainState.TOO_FEW
    assert (strict.domain_p > 0.99 * least).all()
    assert not strict.in_domain.any()


def test_a_stricter_rate_calls_fewer_compounds_foreign(predictor: Predictor) -> None:
    p_values = predictor.predict([*SMILES, FOREIGN], error_rate=0.2).domain_p
    assert (p_values > 0.4).sum() <= (p_values > 0.2).sum() < p_values.size


def test_without_a_domain_predictions_are_the_same_and_nothing_is_said_to_be_in_it(
    predictor: Predictor, home: Path, partner: TrainedPartner, tmp_path: Path
) -> None:
    write_bundle(tmp_path / "b", replace(predictor.bundle.contents, domain=None))
    with Predictor.open(tmp_path / "b", KEY, cache=home / "structures.sqlite") as bare:
        found, wanted = bare.predict(SMILES[:9]), predictor.predict(SMILES[:9])
    np.testing.assert_array_equal(found.predicted, wanted.predicted)
    np.testing.assert_array_equal(found.upper, wanted.upper)
    assert found.domain is DomainState.UNKNOWN
    assert np.isnan(found.novelty).all()
    assert np.isnan(found.domain_p).all()
    assert not found.in_domain.any()


def test_tasks_are_chosen_by_task_or_assay(predictor: Predictor) -> None:
    everything = predictor.predict(SMILES[:5])
    names = [task.task_id for task in everything.tasks]
    one = predictor.predict(SMILES[:5], tasks=("regression|kinase",))
    assert [task.task_id for task in one.tasks] == ["regression|kinase"]
    np.testing.assert_array_equal(one.predicted[:, 0], everything.predicted[:, names.index("regression|kinase")])
    some = predictor.predict(SMILES[:5], tasks=("solubility",))
    assert {task.assay_id for task in some.tasks} == {"solubility"}
    with pytest.raises(UnknownNameError, match="Did you mean 'kinase'"):
        predictor.predict(SMILES[:5], tasks=("kinas",))


@pytest.mark.parametrize("error", [0.0, 1.0, np.nan])
def test_an_error_rate_that_is_none_is_refused(predictor: Predictor, error: float) -> None:
    with pytest.raises(MetricError, match="between 0 and 1"):
        predictor.predict(["CC"], error_rate=error)


def test_another_key_is_refused_before_anything_is_computed(
    home: Path, partner: TrainedPartner, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pharmonia.run import prepare_structures

    def never() -> tuple[str, ...]:
        raise AssertionError("the installation was checked first")

    monkeypatch.setattr(prepare_structures, "reference_structures", never)
    with pytest.raises(RecipeError, match="another preparation key"):
        Predictor.open(home / "acme.zip", PreparationKey(secret=bytes(32)))


def test_an_installation_that_makes_other_structures_is_refused_and_told_which_version_to_install(
    home: Path, partner: TrainedPartner, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pharmonia.run import prepare_structures

    monkeypatch.setattr(prepare_structures, "reference_structures", lambda: ("CCO",))
    with pytest.raises(RecipeError, match="compare the installations"):
        Predictor.open(home / "acme.zip", KEY)
    with pytest.raises(RecipeError, match=r"install rdkit==1999\.1"):
        require_chemistry(replace(partner.recipe, rdkit="1999.1"), "0" * 64)


def test_another_version_that_makes_the_same_structures_is_taken(partner: TrainedPartner) -> None:
    recipe = replace(partner.recipe, rdkit="1999.1")
    require_chemistry(recipe, recipe.reference)


def test_the_check_finds_the_platforms_predictions_again(
    predictor: Predictor, partner: TrainedPartner, home: Path
) -> None:
    found = check_folder(predictor, home / "prepared", home / "predictions.npy")
    assert found.n_labels == len(partner.prepared.labels)
    assert found.largest < 1e-6
    assert found.n_forms == partner.prepared.n_compounds
    found.require()


def test_the_check_finds_one_prediction_that_differs_and_names_it(
    predictor: Predictor, partner: TrainedPartner, home: Path
) -> None:
    platform = np.load(home / "predictions.npy")
    platform[37] += 3e-5 * max(1.0, abs(platform[37]))
    found = check_predictions(predictor.bundle, partner.prepared, platform)
    assert found.task_id == partner.prepared.tasks[partner.prepared.labels.task[37]].task_id
    assert found.compound == partner.prepared.labels.compound[37]
    with pytest.raises(BundleError, match="does not predict what the platform did"):
        found.require()
    platform[:] = np.nan
    with pytest.raises(BundleError, match="nothing can be compared"):
        check_predictions(predictor.bundle, partner.prepared, platform)
    with pytest.raises(BundleError, match="predictions of the platform, got"):
        check_predictions(predictor.bundle, partner.prepared, platform[:3])


def test_the_check_refuses_data_of_another_recipe_or_run(predictor: Predictor, partner: TrainedPartner) -> None:
    platform = np.zeros(len(partner.prepared.labels), dtype=np.float32)
    with pytest.raises(RecipeError, match="another recipe"):
        check_predictions(predictor.bundle, replace(partner.prepared, recipe_digest="0" * 64), platform)
    tasks = (replace(partner.prepared.tasks[0], task_id="other"), *partner.prepared.tasks[1:])
    with pytest.raises(BundleError, match="no task 'other'"):
        check_predictions(predictor.bundle, replace(partner.prepared, tasks=tasks), platform)


def test_the_check_notices_columns_that_this_installation_would_not_make(
    predictor: Predictor, partner: TrainedPartner, home: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "prepared"
    text = (home / "prepared" / COMPOUND_ROWS).read_bytes()
    forms = {COMPOUND_ROWS: text.replace(b',"Cc1ccccc1"', b',"Cc1ccncc1"', 1)}
    write_prepared(folder, open_prepared(home / "prepared"), partner.recipe, forms)
    with pytest.raises(RecipeError, match="makes other columns"):
        check_folder(predictor, folder, home / "predictions.npy")


def test_prepared_data_of_a_catalogue_are_those_of_the_bundle(home: Path, partner: TrainedPartner) -> None:
    assert as_catalogue(open_prepared(home / "prepared")).tasks == partner.prepared.tasks
