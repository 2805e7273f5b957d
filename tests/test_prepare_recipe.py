"""The recipe and the expectations: every number is in them, and every difference is named."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from pharmonia.base.canonical import canonical_json
from pharmonia.base.errors import OptionError, RecipeError, UnknownNameError
from pharmonia.chem.folds_settings import FoldMethod, FoldSettings
from pharmonia.data.assays import AssayType
from pharmonia.data.contract import DriftKind, drift, expectations_from, statistics_of
from pharmonia.data.recipe import Recipe, decode_recipe
from pharmonia.data.recipe_codec import plain, profile_from
from pharmonia.data.recipe_profile import PrepareProfile, ReplicateRule
from prepare_cases import KEY, assay, results

RECIPE = Recipe(profile=PrepareProfile(), rdkit="2026.09.1", key_commitment=KEY.commitment(), reference="a" * 64)
DEFAULT_DIGEST = "bdc768123b9d472b7681968d532b31742818e630c756b5c2d20b114df095ec9b"


def test_a_recipe_survives_its_bytes() -> None:
    profile = profile_from({"folds": {"method": "lsh", "lsh_bits": [1, 2]}, "rules": {"ADME": {"lowest": -math.inf}}})
    recipe = replace(RECIPE, profile=profile)
    assert decode_recipe(recipe.encode(), "x") == recipe
    assert recipe.digest != RECIPE.digest


def test_the_default_recipe_has_the_digest_that_partners_signed() -> None:
    assert RECIPE.digest == DEFAULT_DIGEST


def test_every_number_of_the_profile_changes_the_digest() -> None:
    leaves = list(_changes(plain(RECIPE.profile), ()))
    assert len(leaves) > 100
    digests = set()
    for path, value in leaves:
        document: object = value
        for name in reversed(path):
            document = {name: document}
        try:
            digests.add(replace(RECIPE, profile=profile_from(document)).digest)  # type: ignore[arg-type]
        except OptionError:
            digests.add(str(path))  # a number that does not fit the others
    assert len(digests) == len(leaves)
    assert RECIPE.digest not in digests


def _changes(value: object, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], object]]:
    """Each setting with another value."""
    if isinstance(value, dict):
        return [change for name, one in value.items() for change in _changes(one, (*path, name))]
    words = {"scaffold": "lsh", "by-structure": "one-fold", "max": "median", "median": "max", "by-direction": "max"}
    words |= {"dose-response": "fixed", "quantiles": "fixed", "fixed": "none", "none": "fixed"}
    if isinstance(value, bool):
        return [(path, not value)]
    if isinstance(value, str):
        return [(path, words[value])]
    if isinstance(value, list):
        return [(path, value[1:])]
    return [(path, value + 1 if isinstance(value, int) else value * 0.9 + 0.013)]  # type: ignore[operator]


def test_every_difference_is_named() -> None:
    other = Recipe(
        profile=profile_from({"folds": {"n_folds": 4}, "rules": {"ADME": {"n_total": 7}}}),
        rdkit="2022.09.5",
        key_commitment="0" * 64,
        reference="b" * 64,
    )
    with pytest.raises(RecipeError) as caught:
        other.require_same(RECIPE)
    for part in ("another key", "RDKit 2022.09.5", "folds.n_folds is 4, agreed is 5", "rules.ADME.n_total is 7"):
        assert part in str(caught.value)
    RECIPE.require_same(RECIPE)


def test_an_installation_that_makes_other_structures_is_told_even_of_one_version() -> None:
    with pytest.raises(RecipeError, match="reference set"):
        replace(RECIPE, reference="b" * 64).require_same(RECIPE)


@pytest.mark.parametrize(
    ("document", "error", "match"),
    [
        ({"fold": {}}, UnknownNameError, "fold"),
        ({"folds": {"n_fold": 5}}, UnknownNameError, "n_fold"),
        ({"folds": 5}, OptionError, "table"),
        ({"folds": {"n_folds": "5"}}, OptionError, "whole number"),
        ({"folds": {"n_folds": True}}, OptionError, "true or false"),
        ({"folds": {"method": "random"}}, OptionError, "scaffold, lsh"),
        ({"standard": {"keep_stereo": 1}}, OptionError, "true or false"),
        ({"thresholds": {"sandwich": "wide"}}, OptionError, "number"),
        ({"thresholds": {"trials": 5}}, OptionError, "list"),
        ({"thresholds": {"trials": []}}, OptionError, "list"),
        ({"rules": {"HTS": {}}}, UnknownNameError, "HTS"),
        ({"rules": {"ADME": {"n_active": -1}}}, OptionError, "0 or more"),
        ({"rules": {"ADME": {"lowest": math.nan}}}, OptionError, "number"),
        ({"rules": {"ADME": {"task_weight": 0.0}}}, OptionError, "over 0"),
        ({"censored_barrier": 1.0}, OptionError, "barrier"),
        ({"ecfp": {"n_bits": 8}}, OptionError, "bits"),
        ({"ecfp": {"n_bits": 1024}, "folds": {"method": "lsh"}}, OptionError, "reads column"),
        ({"catalogue": {"n_total": -1}}, OptionError, "0 or more"),
    ],
)
def test_a_setting_that_nobody_could_mean_is_refused(
    document: dict[str, object], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        profile_from(document)


def test_the_defaults_are_the_published_rules() -> None:
    profile = PrepareProfile()
    dose, adme, hts = (profile.rules[AssayType(name)] for name in ("OTHER", "ADME", "AUX_HTS"))
    assert (dose.lowest, dose.highest, dose.replicates) == (3, 10, ReplicateRule.MAX)
    assert (adme.lowest, adme.highest, adme.replicates) == (-1e12, 1e12, ReplicateRule.MEDIAN)
    assert (hts.n_active, hts.n_inactive, hts.task_weight) == (10, 10_000, 0.1)
    assert (profile.ecfp.radius, profile.ecfp.n_bits, profile.folds.n_folds) == (3, 32_000, 5)
    assert (profile.standard.max_atoms, profile.standard.max_tautomers) == (100, 256)
    assert profile.folds == FoldSettings(method=FoldMethod.SCAFFOLD)


def _tampered(**fields: object) -> bytes:
    return canonical_json({**json.loads(RECIPE.encode()), **fields})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        RECIPE.encode()[:-1],
        _tampered(version=2),
        _tampered(extra=1),
        _tampered(rdkit=5),
        _tampered(rdkit=""),
        _tampered(profile=[]),
        _tampered(key_commitment="f" * 63),
        _tampered(reference="g" * 64),
        _tampered(profile={"folds": {"n_folds": 0}}),
    ],
)
def test_bytes_that_are_no_recipe_are_refused(content: bytes) -> None:
    with pytest.raises(RecipeError, match=r"recipe\.json is"):
        decode_recipe(content, "recipe.json")


def test_departures_from_expectations_are_found() -> None:
    assays = (assay("mine", AssayType.ADME, unit="uM", catalogue_id="logD"), assay("other"))
    joined = results([(i, 0, "<" if i % 2 else "=", float(i)) for i in range(11)] + [(0, 1, "=", 5.0)])
    found = statistics_of(joined, assays, np.array([22, 1]), ())
    assert (found[0].n_results, found[0].repeated, found[0].quantiles[2]) == (11, 0.5, 5.0)
    document = {
        "expect": [
            {"assays": "log*", "unit": "nM", "median": [0, 4], "highest": [9, 11], "repeated": [0, 0.2]},
            {"assays": "ADME", "qualified": [0.0, 0.1], "actives": [0.1, 0.9]},
            {"assays": "nobody", "median": [99, 100]},
        ]
    }
    drifts = drift(found, expectations_from(document, "expectations.toml"))
    assert [(one.assay_id, one.kind) for one in drifts] == [
        ("mine", DriftKind.UNIT),
        ("mine", DriftKind.RANGE),
        ("mine", DriftKind.REPEATED),
        ("mine", DriftKind.QUALIFIED),
        ("nobody", DriftKind.ASSAYS),
    ]
    assert drifts[1].sentence() == "mine: value-range is median 5, expected is 0 to 4"


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"expect": {}},
        {"expect": [{}]},
        {"expect": [{"assays": "x", "mean": [0, 1]}]},
        {"expect": [{"assays": "x", "median": [0]}]},
        {"expect": [{"assays": "x", "median": [1, 0]}]},
        {"expect": [{"assays": "x", "median": ["a", "b"]}]},
        {"expect": [{"assays": "x", "unit": 5}]},
        {"expect": [], "more": 1},
    ],
)
def test_expectations_that_nobody_could_meet_are_refused(document: dict[str, object]) -> None:
    with pytest.raises((OptionError, UnknownNameError)):
        expectations_from(document, "expectations.toml")
