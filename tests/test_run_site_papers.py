"""What a site reads of its own: `site.toml`, the settings of a plan, and data that are named before they are opened."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance_cases import CODE, END, NOW, OWNERS, founded, plan_under
from multitask_cases import ONE_PASS
from pharmonia.base.errors import (
    CacheError,
    DocumentError,
    InputError,
    OptionError,
    PharmoniaError,
    RefusedError,
    TermsError,
    UnknownNameError,
)
from pharmonia.bench.planned import PlanHead, draft_plan
from pharmonia.data.partner import PartnerDataset
from pharmonia.governance.identity import CommitmentKey
from pharmonia.governance.plan import RunPlan, Setting
from pharmonia.learn.learner import Learner
from pharmonia.learn.local import LocalLearner
from pharmonia.learn.multitask_settings import MultitaskSettings
from pharmonia.learn.settings import Method
from pharmonia.run.keyfiles import create_commitment_key
from pharmonia.run.plan_settings import listed
from pharmonia.run.planned import training_plan_of
from pharmonia.run.planned_tasks import MULTITASK, multitask_method_settings, multitask_model_settings
from pharmonia.run.site_config import DataKind, DataPlace, read_coordinator, read_site
from pharmonia.run.site_data import DataCard, describe_data, read_interactions, site_commitment, write_interactions
from run_cases import broadcast, initial, local_settings, partner_datasets
from site_cases import settings

RECIPE = "3c" * 32
SITE = """\
partner = "acme"
key = "acme.key"
commitment = "acme.key.commitment"
agreement = "agreement.json"
plan = "papers/plan.json"
policy = "policy.json"
ledger = "/var/ledger"
state = "state"

[data]
kind = "tasks"
folder = "prepared"
train_folds = [2, 3, 4]
valid_folds = [1]
"""
COORDINATOR = """\
partner = "dynamo"
key = "dynamo.key"
agreement = "agreement.json"
plan = "plan.json"
ledger = "ledger"
store_url = "sqlite:///store/runs.sqlite"
store_folder = "store"
checkpoint_every_s = 20
"""


def site_file(folder: Path, text: str) -> Path:
    (folder / "site.toml").write_text(text)
    return folder


def test_paths_are_relative_to_the_site_s_folder(tmp_path: Path) -> None:
    config = read_site(site_file(tmp_path, SITE))
    assert (config.partner, config.key, config.plan) == (
        "acme",
        tmp_path / "acme.key",
        tmp_path / "papers" / "plan.json",
    )
    assert config.ledger == Path("/var/ledger")
    assert config.data == DataPlace(
        kind=DataKind.TASKS, folder=tmp_path / "prepared", train_folds=(2, 3, 4), valid_folds=(1,)
    )


def test_a_coordinator_s_store_is_relative_to_its_folder_and_its_address_is_never_shown(tmp_path: Path) -> None:
    path = tmp_path / "coordinator.toml"
    path.write_text(COORDINATOR)
    config = read_coordinator(tmp_path)
    assert config.store_url == f"sqlite:///{tmp_path}/store/runs.sqlite"
    assert (config.checkpoint_every_s, config.answer_timeout_s, config.room_mb) == (20, 600, 64)
    path.write_text(COORDINATOR.replace("sqlite:///store/runs.sqlite", "postgresql://me:secret@host/runs"))
    assert read_coordinator(tmp_path).store_url == "postgresql://me:secret@host/runs"
    assert "secret" not in repr(read_coordinator(tmp_path))


def test_a_coordinator_waits_as_long_as_its_file_says(tmp_path: Path) -> None:
    path = tmp_path / "coordinator.toml"
    path.write_text(COORDINATOR + "answer_timeout_s = 7200\nroom_mb = 1024\n")
    config = read_coordinator(tmp_path)
    assert (config.answer_timeout_s, config.room_mb) == (7200, 1024)
    path.write_text(COORDINATOR + "answer_timeout_s = 0\n")
    with pytest.raises(OptionError, match="answer_timeout_s must be at least 1"):
        read_coordinator(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('key = "acme.key"\n', "", "'key' is missing"),
        ('key = "acme.key"', "key = 7", "'key' must be text"),
        ('key = "acme.key"', 'key = "s3://bucket/acme.key"', "'key' must be a path on this machine"),
        ('key = "acme.key"', 'key = "//server/share/acme.key"', "'key' must be a path on this machine"),
        ('key = "acme.key"', 'key = " "', "'key' must be a path on this machine"),
        ('"acme"', '"Acme Pharma"', "'partner'"),
        ("state =", "stat =", "'state' is missing"),
        ("policy =", 'extra = "x"\npolicy =', "no field 'extra'"),
        ('"tasks"', '"tables"', "'kind' must be one of interactions, tasks"),
        ("[2, 3, 4]", "[2, true]", "'train_folds' must be a list of whole numbers"),
        ("[2, 3, 4]", "[4, 2]", "train_folds must be whole numbers"),
        ("[2, 3, 4]", "[1, 2]", "not both"),
        ("[data]", "[data", "is not TOML"),
    ],
)
def test_a_site_file_s_error_names_the_file_and_what_is_wrong(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in SITE
    with pytest.raises(OptionError) as caught:
        read_site(site_file(tmp_path, SITE.replace(old, new)))
    assert said in str(caught.value)
    assert "site.toml" in str(caught.value)


def test_interactions_take_no_folds(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"no field 'train_folds'"):
        read_site(site_file(tmp_path, SITE.replace('"tasks"', '"interactions"')))
    with pytest.raises(InputError, match="cannot read"):
        read_site(tmp_path / "nowhere")


# The settings of a plan


def drafted(method: str) -> RunPlan:
    chosen = settings(method)
    head = PlanHead(name="kinases", version=1, valid_until=END, coordinator="dynamo")
    commitments = dict.fromkeys(OWNERS, "ab" * 32)
    return draft_plan(chosen, founded().current(NOW), head, commitments, CODE)


@pytest.mark.parametrize("method", ["fedavg", "fedsgd", "fedprox:0.1", "fedadam:0.003+equal", "scaffold+private-norms"])
def test_what_a_comparison_writes_into_a_plan_is_read_back(method: str) -> None:
    chosen, found = settings(method), training_plan_of(drafted(method))
    assert (found.local, found.schedule, found.seed) == (chosen.local, chosen.schedule, chosen.seeds[0])
    assert found.method == Method.parse(method)


def with_setting(plan: RunPlan, name: str, value: bool | float | str | None) -> RunPlan:
    """The plan with a method setting replaced, added, or taken out."""
    named = {one.name: one.value for one in plan.method_settings} | ({} if value is None else {name: value})
    if value is None:
        named.pop(name)
    listed = tuple(Setting(name=key, value=named[key]) for key in sorted(named))
    return replace(plan, method_settings=listed)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("warm-up", 3, "the setting warm-up is not known"),
        ("batch-size", None, "lacks the setting batch-size"),
        ("batch-size", 32.5, "batch-size must be a whole number"),
        ("batch-size", True, "batch-size must be a whole number"),
        ("learning-rate", "fast", "learning-rate must be a number"),
        ("optimiser", 1, "optimiser must be a word"),
        ("batch-size", 1, "the batch size must be at least 2"),
    ],
)
def test_a_setting_that_is_unknown_missing_or_of_another_type_is_refused_by_name(
    name: str, value: bool | float | str | None, said: str
) -> None:
    with pytest.raises(OptionError, match=said):
        training_plan_of(with_setting(drafted("fedavg"), name, value))


names = st.lists(st.text("abcdefgh -1", min_size=1, max_size=20).map(str.strip).filter(bool), max_size=12, unique=True)
tidy = names.map(lambda found: tuple(sorted({" ".join(one.split()) for one in found})))
widths = st.lists(st.integers(1, 10**6), max_size=4).map(tuple)


@given(
    trunk=widths.filter(bool),
    head=widths,
    dropout=st.floats(0, 0.99),
    weight=st.floats(0.01, 0.99),
    classification=tidy,
    regression=tidy,
)
def test_a_network_of_many_tasks_is_read_back_as_it_was_written(
    trunk: tuple[int, ...],
    head: tuple[int, ...],
    dropout: float,
    weight: float,
    classification: tuple[str, ...],
    regression: tuple[str, ...],
) -> None:
    local = replace(
        ONE_PASS,
        trunk=trunk,
        head=head,
        dropout=dropout,
        regression_weight=weight,
        catalogue_classification=classification,
        catalogue_regression=regression,
    )
    found = training_plan_of(of_tasks(local))
    assert (found.local, found.method, found.schedule.patience) == (local, Method.parse("fedsgd"), 7)


def of_tasks(local: MultitaskSettings) -> RunPlan:
    return replace(
        drafted("fedsgd"),
        model=MULTITASK,
        model_settings=listed(multitask_model_settings(local)),
        method_settings=listed(multitask_method_settings(local, patience=7)),
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("trunk", "400x200", "widths such as 400,200"),
        ("trunk", "-4", "widths such as 400,200"),
        ("trunk", "none", "at least 1"),
        ("catalogue-regression-007", "tox", "catalogue-regression-007 is not known"),
        ("norm", "batch", "the setting norm is not known"),
    ],
)
def test_strange_settings_of_many_tasks_are_refused_by_name(name: str, value: str, said: str) -> None:
    plan = of_tasks(ONE_PASS)
    values = {one.name: one.value for one in plan.model_settings} | {name: value}
    with pytest.raises(OptionError, match=said):
        training_plan_of(replace(plan, model_settings=listed(values)))
    with pytest.raises(OptionError, match="private"):
        training_plan_of(replace(plan, method="fedavg+private-head"))


def test_a_method_that_the_settings_do_not_go_with_is_refused() -> None:
    passes = "fedsgd goes through the rows once a round, so it takes 1 local epoch, got 2"
    for plan in (with_setting(drafted("fedsgd"), "local-epochs", 2), of_tasks(replace(ONE_PASS, local_epochs=2))):
        with pytest.raises(OptionError, match=passes):
            training_plan_of(plan)
    plan = replace(drafted("scaffold+private-norms"), model="deepdta")
    with pytest.raises(OptionError, match=r"the network deepdta has no normalisation .* leave out \+private-norms"):
        training_plan_of(plan)


def test_what_this_version_cannot_do_is_not_done_in_another_way() -> None:
    plan = drafted("fedavg")
    sums = plan.aggregation
    with pytest.raises(RefusedError, match="secure sums"):
        training_plan_of(replace(plan, aggregation=replace(sums, required=False)))
    with pytest.raises(OptionError, match="secure sums are run with 24 weight bits, not with 16"):
        training_plan_of(replace(plan, aggregation=replace(sums, weight_bits=16)))
    with pytest.raises(OptionError, match="privacy budget"):
        training_plan_of(replace(plan, privacy_budget=plan_under(founded().current(NOW)).privacy_budget))
    for changed_plan in (replace(plan, model="oracle"), with_setting(plan, "optimiser", "magic")):
        with pytest.raises(UnknownNameError):
            training_plan_of(changed_plan)
    with pytest.raises(UnknownNameError):
        training_plan_of(replace(plan, method="guess"))


# A partner's data


def written(folder: Path, dataset: PartnerDataset) -> tuple[DataPlace, DataCard]:
    place = DataPlace(kind=DataKind.INTERACTIONS, folder=folder)
    return place, write_interactions(folder, dataset, RECIPE)


def test_training_from_a_folder_is_training_in_process(tmp_path: Path) -> None:
    dataset = partner_datasets(3)[0]
    place, card = written(tmp_path / "data", dataset)
    loaded = read_interactions(place, card, dataset.name)
    learners: list[Learner] = [LocalLearner(one, local_settings(), Method(), (3, 0)) for one in (dataset, loaded)]
    frame = broadcast(0, initial(local_settings().norm, 3, 1.0))
    first, second = (learner.contribute(frame) for learner in learners)
    np.testing.assert_array_equal(first.values, second.values)
    assert first.weight == second.weight


def test_equal_data_have_one_digest_and_any_other_have_another(tmp_path: Path) -> None:
    datasets = partner_datasets(3)
    cards = [written(tmp_path / str(index), dataset)[1] for index, dataset in enumerate(datasets)]
    again = written(tmp_path / "again", replace(datasets[0], name="somebody else"))[1]
    swapped = replace(datasets[0], train=datasets[0].valid, valid=datasets[0].train)
    assert again == cards[0]
    assert len({card.digest for card in (*cards, written(tmp_path / "swapped", swapped)[1])}) == 4
    assert write_interactions(tmp_path / "other", datasets[0], "4d" * 32).digest != cards[0].digest


def test_a_commitment_needs_the_manifest_and_no_data(tmp_path: Path) -> None:
    place, card = written(tmp_path / "data", partner_datasets(3)[0])
    for path in place.folder.glob("*.npy"):
        path.unlink()
    key = create_commitment_key(tmp_path / "acme.key.commitment")
    config = replace(read_site(site_file(tmp_path, SITE)), data=place)
    assert site_commitment(config, "aurora") == key.commit("aurora", card.digest)
    assert site_commitment(config, "aurora") != CommitmentKey(bytes(32)).commit("aurora", card.digest)
    assert describe_data(place) == card
    with pytest.raises(CacheError, match="cannot read"):
        read_interactions(place, card, "acme")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("damage", [cut, emptied, flipped])
@pytest.mark.parametrize("name", ["graphs.features.npy", "valid.value.npy", "site-data.json"])
def test_damaged_data_are_never_trained_on(tmp_path: Path, damage: Callable[[Path], None], name: str) -> None:
    place, card = written(tmp_path, partner_datasets(3)[0])
    damage(tmp_path / name)
    with pytest.raises((CacheError, DocumentError)):
        read_interactions(place, card, "acme")


def test_data_changed_behind_the_party_s_back_are_not_trained_on(tmp_path: Path) -> None:
    first, second = partner_datasets(3)[:2]
    place, card = written(tmp_path, first)
    written(tmp_path, second)
    with pytest.raises(CacheError, match="was changed since the party started"):
        read_interactions(place, card, "acme")


def test_rows_of_entities_that_are_not_there_are_refused(tmp_path: Path) -> None:
    dataset = partner_datasets(3)[0]
    pairs = dataset.train
    beyond = replace(pairs, compound=pairs.compound + np.int32(dataset.graphs.n_compounds))
    place, card = written(tmp_path, replace(dataset, train=beyond))
    with pytest.raises(CacheError, match="do not fit together"):
        read_interactions(place, card, "acme")
    with pytest.raises(TermsError, match="recipe"):
        write_interactions(tmp_path, dataset, "no digest")


@given(place=st.integers(0, 2000), bit=st.integers(0, 7))
def test_no_changed_bit_of_a_manifest_goes_unseen(
    place: int, bit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "manifest"
    if not folder.exists():
        written(folder, partner_datasets(3)[0])
    card = describe_data(DataPlace(kind=DataKind.INTERACTIONS, folder=folder))
    whole = (folder / "site-data.json").read_bytes()
    changed = bytearray(whole)
    changed[place % len(whole)] ^= 1 << bit
    try:
        (folder / "site-data.json").write_bytes(bytes(changed))
        found = describe_data(DataPlace(kind=DataKind.INTERACTIONS, folder=folder))
    except PharmoniaError:
        return
    finally:
        (folder / "site-data.json").write_bytes(whole)
    assert found != card
