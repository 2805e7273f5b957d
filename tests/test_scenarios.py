"""Ownership scenarios by name: what each of them promises."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interaction_cases import small_interactions
from pharmonia.base.errors import OptionError, PartitionError, UnknownNameError
from pharmonia.bench.scenario import PARAMETERS, Scenario, ScenarioKind, scenario_forms, share_rows
from pharmonia.chem.families import family_groups
from pharmonia.chem.scaffolds import scaffold_groups
from pharmonia.data import ownership
from pharmonia.data.interactions import EncodedInteractions, Interactions
from pharmonia.data.ownership import NOBODY, diffusion_weights
from scenario_cases import TEXTS


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def owners(text: str, interactions: Interactions, n_partners: int, seed: int = 0) -> ownership.Owners:
    return share_rows(Scenario.parse(text), interactions, n_partners, rng(seed)).owner


def scenarios() -> st.SearchStrategy[Scenario]:
    def of_kind(kind: ScenarioKind) -> st.SearchStrategy[Scenario]:
        asked = PARAMETERS.get(kind)
        number = st.none() if asked is None else st.floats(asked.lowest, asked.highest)
        return number.map(lambda value: Scenario(kind=kind, parameter=value))

    return st.sampled_from(ScenarioKind).flatmap(of_kind)


@pytest.mark.parametrize("text", TEXTS)
def test_a_scenario_is_written_as_it_is_read(text: str) -> None:
    assert str(Scenario.parse(text)) == text


@given(scenario=scenarios())
def test_every_scenario_survives_being_written_and_read(scenario: Scenario) -> None:
    assert Scenario.parse(str(scenario)) == scenario


def test_every_kind_has_an_example_here_and_a_form() -> None:
    assert {Scenario.parse(text).kind for text in TEXTS} == set(ScenarioKind)
    assert scenario_forms()[:4] == ("iid", "target", "compound", "diffused-target:VARIANCE")


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("", UnknownNameError, "choose iid, target, compound, diffused-target:VARIANCE"),
        ("targets", UnknownNameError, "no scenario 'targets'"),
        ("IID", UnknownNameError, "no scenario 'IID'"),
        ("iid:1", OptionError, "takes no number"),
        ("weak", OptionError, "weak:SHARE with SHARE from 0.1 to 1"),
        ("weak:", OptionError, "number after the colon, got ''"),
        ("weak:a lot", OptionError, "number after the colon, got 'a lot'"),
        ("weak:0", OptionError, "from 0.1 to 1, got 0.0"),
        ("diffused-target:nan", OptionError, "got nan"),
        ("dirichlet:inf", OptionError, "got inf"),
        ("size-skew:0.5", OptionError, "from 1 to 1000"),
        ("target:1:2", OptionError, "after the colon"),
    ],
)
def test_what_is_no_scenario_is_refused_with_what_would_be(text: str, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        Scenario.parse(text)


@given(text=st.sampled_from(TEXTS), n_partners=st.integers(2, 6), seed=st.integers(0, 500))
@settings(max_examples=60)
def test_a_scenario_repeats_with_its_seed_and_leaves_nobody_empty(text: str, n_partners: int, seed: int) -> None:
    interactions = small_interactions(n_rows=300, seed=seed)
    try:
        owner = owners(text, interactions, n_partners, seed)
    except PartitionError:
        assert text.startswith("dirichlet")  # few targets: a partner may draw nothing
        return
    assert set(owner) - {NOBODY} == set(range(n_partners))
    assert (NOBODY in owner) == text.startswith("weak")
    np.testing.assert_array_equal(owner, owners(text, interactions, n_partners, seed))


@pytest.mark.parametrize(
    ("text", "digest"), [("iid", "f27cb13739a8397b"), ("target", "8deae16fac339182"), ("compound", "51644e6cb6766bb5")]
)
def test_the_owners_of_version_0_1_are_kept_bit_for_bit(
    text: str, digest: str, kiba_sample: EncodedInteractions
) -> None:
    scenario = Scenario.parse(text)
    owner = share_rows(scenario, kiba_sample.interactions, 4, np.random.default_rng([0, 1])).owner
    assert hashlib.sha256(owner.astype("<i2").tobytes()).hexdigest()[:16] == digest


# Diffusion


@pytest.mark.parametrize("entity", ["target", "compound"])
@pytest.mark.parametrize("n_partners", [1, 2, 4, 7, 8, 16, 32])
def test_the_smallest_variance_is_pure_ownership(
    entity: str, n_partners: int, kiba_sample: EncodedInteractions
) -> None:
    interactions = kiba_sample.interactions
    np.testing.assert_array_equal(
        owners(f"diffused-{entity}:0.0001", interactions, n_partners, 2), owners(entity, interactions, n_partners, 2)
    )


@pytest.mark.parametrize("n_partners", [2, 5, 8])
def test_the_largest_variance_is_nearly_iid(n_partners: int, kiba_sample: EncodedInteractions) -> None:
    interactions = kiba_sample.interactions
    owner = owners("diffused-target:100", interactions, n_partners)
    counts = np.zeros((interactions.n_targets, n_partners))
    np.add.at(counts, (interactions.pairs.target, owner), 1)
    expected = counts.sum(axis=1, keepdims=True) / n_partners
    assert np.abs(counts - expected).max() < 2.1  # rounded up or down, and shares that differ by 2 %
    assert np.ptp(np.bincount(owner)) < 0.1 * owner.size / n_partners


def test_the_shares_of_a_diffusion_by_hand() -> None:
    """Five partners stand at 0, 1, 2, 2, 1; four at 0, 1, 2, 1; two at 0 and 2. Variance 1/2: exp(-x^2)."""
    e1, e4 = np.exp(-1.0), np.exp(-4.0)
    for expected in ([1, e1, e4, e4, e1], [1, e1, e4, e1], [1, e4], [1]):
        got = diffusion_weights(len(expected), 0.5)
        np.testing.assert_allclose(got, np.array(expected) / np.sum(expected), rtol=1e-14)


@given(n_partners=st.integers(1, 20).map(lambda half: 2 * half + 1), variance=st.floats(0.01, 100))
def test_for_an_odd_number_the_shares_are_the_papers(n_partners: int, variance: float) -> None:
    density = np.exp(-(np.linspace(-2, 2, n_partners) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
    shifted = np.roll(density / density.sum(), -(n_partners // 2))
    np.testing.assert_allclose(diffusion_weights(n_partners, variance), shifted, rtol=1e-9, atol=1e-300)


@given(n_partners=st.integers(1, 64), variance=st.floats(0.0001, 100))
def test_the_home_of_a_group_has_the_largest_share_and_none_is_lost(n_partners: int, variance: float) -> None:
    shares = diffusion_weights(n_partners, variance)
    assert shares.sum() == pytest.approx(1)
    assert n_partners == 1 or shares[0] > shares[1:].max()
    np.testing.assert_array_equal(shares[1:], shares[1:][::-1])


@given(seed=st.integers(0, 2000), variance=st.sampled_from([0.1, 0.7, 10]))
@settings(max_examples=40)
def test_each_partner_gets_its_share_of_each_group_rounded_up_or_down(seed: int, variance: float) -> None:
    group = rng(seed).integers(7, size=200)
    owner = ownership.diffused(group, "groups", 5, variance, rng(seed))
    home = np.zeros(7, dtype=int)
    home[group] = ownership.by_group(group, "groups", 5, rng(seed))
    for index in set(group):
        expected = np.roll(diffusion_weights(5, variance), home[index]) * (group == index).sum()
        counts = np.bincount(owner[group == index], minlength=5)
        assert (np.abs(counts - expected) < 1).all()


def test_groups_of_one_row_are_shared_out_in_proportion() -> None:
    group = np.arange(40_000)
    owner = ownership.diffused(group, "groups", 2, 2.0, rng())
    home = ownership.by_group(group, "groups", 2, rng())
    assert (owner == home).mean() == pytest.approx(diffusion_weights(2, 2.0)[0], abs=0.01)


# Sizes, weak partners, Dirichlet


def test_sizes_fall_geometrically_from_the_first_partner_to_the_last() -> None:
    counts = np.bincount(ownership.size_skewed(7_000, 3, 4.0, rng()))
    assert counts.tolist() == [4_000, 2_000, 1_000]
    assert np.ptp(np.bincount(ownership.size_skewed(7_001, 3, 1.0, rng()))) <= 1


def test_a_skew_that_leaves_a_partner_without_rows_is_refused() -> None:
    with pytest.raises(PartitionError, match="less skew"):
        ownership.size_skewed(100, 3, 1_000, rng())


def test_a_master_has_half_and_the_others_their_share_of_the_rest() -> None:
    owner = ownership.weak(1_000, 6, 0.3, rng())
    assert np.bincount(owner + 1).tolist() == [350, 500, 30, 30, 30, 30, 30]
    assert NOBODY not in ownership.weak(1_000, 6, 1.0, rng())


@given(smaller=st.floats(0.1, 1), larger=st.floats(0.1, 1), seed=st.integers(0, 100))
def test_a_larger_share_only_adds_rows(smaller: float, larger: float, seed: int) -> None:
    smaller, larger = sorted((smaller, larger))
    few, many = (ownership.weak(200, 4, share, rng(seed)) for share in (smaller, larger))
    np.testing.assert_array_equal(few == 0, many == 0)
    assert not ((few > 0) & (many == NOBODY)).any()


@pytest.mark.parametrize(("n_partners", "match"), [(1, "2 partners or more"), (12, "12 partners cannot share 11 rows")])
def test_a_weak_scenario_needs_others_with_rows(n_partners: int, match: str) -> None:
    with pytest.raises(PartitionError, match=match):
        ownership.weak(200, n_partners, 0.1, rng())


def test_a_small_alpha_gives_targets_whole_and_a_large_one_shares_them() -> None:
    group = rng(1).integers(50, size=5_000)
    largest = []
    for alpha in (0.001, 1.0, 1_000.0):
        counts = np.zeros((50, 4))
        np.add.at(counts, (group, ownership.dirichlet(group, 4, alpha, rng(2))), 1)
        largest.append((counts.max(axis=1) / counts.sum(axis=1)).mean())
    assert largest[0] > 0.98
    assert 0.4 < largest[1] < 0.7
    assert largest[2] < 0.29


# Scaffolds and families


@pytest.mark.parametrize(("text", "of"), [("scaffold", "compounds"), ("family", "targets")])
def test_whole_scaffolds_and_whole_families_go_to_one_partner(
    text: str, of: str, kiba_sample: EncodedInteractions
) -> None:
    interactions = kiba_sample.interactions
    owner = owners(text, interactions, 4)
    group = (
        scaffold_groups(interactions.smiles)[interactions.pairs.compound]
        if of == "compounds"
        else family_groups(interactions.sequences)[interactions.pairs.target]
    )
    assert len(set(zip(group.tolist(), owner.tolist(), strict=True))) == len(set(group.tolist()))
    assert np.ptp(np.bincount(owner)) <= np.bincount(group).max()


@pytest.mark.parametrize("text", ["target", "compound", "scaffold", "family", "diffused-target:1"])
def test_more_partners_than_groups_are_refused(text: str) -> None:
    things = {"target": "targets", "diffused-target:1": "targets", "compound": "compounds", "scaffold": "scaffolds"}
    with pytest.raises(PartitionError, match=f"cannot share .* {things.get(text, 'protein families')}; use at most"):
        owners(text, small_interactions(), 13)


@pytest.mark.parametrize(
    ("things", "thing"), [("targets", "target"), ("protein families", "protein family"), ("assays", "assay")]
)
def test_what_there_is_one_of_is_not_shared_by_fewer_partners_than_two(things: str, thing: str) -> None:
    with pytest.raises(PartitionError, match=f"2 partners cannot share 1 {thing}; at least 2"):
        ownership.by_group(np.zeros(5, dtype=np.int64), things, 2, np.random.default_rng(0))


@pytest.mark.mirror
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("n_partners", [2, 32])
def test_kiba_is_shared_out_in_any_scenario(text: str, n_partners: int, kiba: EncodedInteractions) -> None:
    owner = owners(text, kiba.interactions, n_partners)
    assert owner.size == 118_254
    assert set(owner) - {NOBODY} == set(range(n_partners))
