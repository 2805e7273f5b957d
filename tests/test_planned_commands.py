"""`pharmonia policy`, `plan`, `ledger` and `compare --plan` with bad input; what a plan says of a comparison."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from governance_cases import CODE, COMMITMENTS, NOW, OWNERS, founded
from multitask_cases import partners
from pharmonia.base.errors import (
    AgreementError,
    DocumentError,
    InputError,
    LedgerError,
    OptionError,
    PharmoniaError,
    ProofError,
    RefusedError,
    TermsError,
)
from pharmonia.bench.planned import PlanHead, draft_plan, require_planned
from pharmonia.bench.scenario import Scenario
from pharmonia.bench.settings import ComparisonSettings
from pharmonia.bench.sites import share_to_sites
from pharmonia.cli.main import app
from pharmonia.data.recipe import Recipe
from pharmonia.data.recipe_profile import PrepareProfile
from pharmonia.data.splits import SplitKind
from pharmonia.governance.checkpoint import decode_checkpoint
from pharmonia.governance.ledger import decode_entry
from pharmonia.governance.plan import RunPlan, Tier
from pharmonia.governance.proofs import decode_consistency, decode_inclusion
from pharmonia.learn.algorithms import Schedule
from pharmonia.learn.multitask_settings import MultitaskSettings
from pharmonia.learn.settings import Aggregation, LocalSettings, Method, Optimiser
from pharmonia.nn.choices import Model, Norm
from pharmonia.run.documents import read_plan, read_policy, write_plan
from pharmonia.run.keyfiles import read_key
from pharmonia.run.planned import training_plan_of
from pharmonia.run.prepare_files import write_prepared
from pharmonia.run.site_config import read_site
from pharmonia.run.site_data import site_commitment

SETTINGS = ComparisonSettings(
    dataset="kiba-sample",
    n_partners=3,
    scenario=Scenario.parse("target"),
    split=SplitKind.RANDOM,
    seeds=(0,),
    local=LocalSettings(
        model=Model.GIN, norm=Norm.BATCH, optimiser=Optimiser.ADAM, learning_rate=5e-4, batch_size=128, local_epochs=1
    ),
    method=Method(),
    aggregation=Aggregation.SECURE,
    schedule=Schedule(rounds=2, patience=60),
)


def the_plan(settings: ComparisonSettings = SETTINGS) -> RunPlan:
    agreement = founded().current(NOW)
    head = PlanHead(name="kinases", version=1, valid_until=agreement.terms.valid_until, coordinator="dynamo")
    return draft_plan(settings, agreement, head, COMMITMENTS, CODE)


def with_local(**fields: object) -> ComparisonSettings:
    return replace(SETTINGS, local=replace(SETTINGS.local, **fields))  # type: ignore[arg-type]


def test_a_plan_is_for_its_own_comparison() -> None:
    require_planned(SETTINGS, the_plan())


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("partners", replace(SETTINGS, n_partners=4)),
        ("seeds", replace(SETTINGS, seeds=(1,))),
        ("rounds", replace(SETTINGS, schedule=Schedule(rounds=3, patience=60))),
        ("patience", replace(SETTINGS, schedule=Schedule(rounds=2, patience=5))),
        ("model", with_local(model=Model.GCN)),
        ("norm", with_local(norm=Norm.LAYER)),
        ("optimiser", with_local(optimiser=Optimiser.SGD)),
        ("learning-rate", with_local(learning_rate=1e-3)),
        ("batch-size", with_local(batch_size=64)),
        ("local-epochs", with_local(local_epochs=2)),
        ("method", replace(SETTINGS, method=Method.parse("fedprox"))),
        ("dataset", replace(SETTINGS, dataset="kiba")),
        ("partition", replace(SETTINGS, scenario=Scenario.parse("iid"))),
        ("split", replace(SETTINGS, split=SplitKind.COLD_TARGET)),
    ],
)
def test_a_command_that_differs_from_the_plan_names_the_field(field: str, other: ComparisonSettings) -> None:
    with pytest.raises(OptionError, match=f"plan kinases, version 1 has {field} .*, this command"):
        require_planned(other, the_plan())


def test_sums_in_the_clear_are_for_the_consortium_to_allow() -> None:
    plain = replace(SETTINGS, aggregation=Aggregation.PLAIN)
    with pytest.raises(RefusedError, match="--aggregation plain is refused"):
        require_planned(plain, the_plan())
    require_planned(plain, the_plan(plain))
    with pytest.raises(OptionError, match="secure aggregation"):
        require_planned(SETTINGS, the_plan(plain))


def test_what_a_plan_asks_for_and_a_comparison_cannot_do_is_refused() -> None:
    plan = the_plan()
    tolerant = replace(plan, aggregation=replace(plan.aggregation, tier=Tier.DROPOUT_TOLERANT))
    with pytest.raises(OptionError, match="tier of secure aggregation dropout-tolerant"):
        require_planned(SETTINGS, tolerant)
    with pytest.raises(OptionError, match="a plan has one seed, got 2"):
        the_plan(replace(SETTINGS, seeds=(0, 1)))


# Commands


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None:
        raise result.exception
    return result.stdout


@pytest.fixture(scope="module")
def founded_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two data owners, one of whom coordinates, and their agreement."""
    root = tmp_path_factory.mktemp("two")
    for who in ("acme", "borealis", "stranger"):
        run("keys", "create", root / who / f"{who}.key")
    home, key = root / "aurora", root / "acme" / "acme.key"
    naming = ("--consortium", "aurora", "--title", "Aurora", "--partner", "acme", "--name", "Acme Pharma")
    run("consortium", "init", home, *naming, "--role", "data-owner", "--role", "coordinator", "--key", key)
    run("consortium", "invite", home, "borealis", "--name", "B", "--role", "data-owner", "--key", key, "--by", "acme")
    card = home / "cards" / "borealis.json"
    other = root / "borealis" / "borealis.key"
    run("consortium", "join", home / "invitation-borealis.json", "--key", other, "--card", card)
    run("consortium", "amend", home)
    for one in (key, other):
        run("consortium", "sign", home, "--key", one)
    shutil.copy(home / "agreement.json", root / "agreement.json")
    return root


@pytest.fixture
def folder(founded_folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(founded_folder, tmp_path / "two")
    return tmp_path / "two"


def papers(folder: Path, who: str = "acme") -> tuple[str | Path, ...]:
    return ("--agreement", folder / "agreement.json", "--key", folder / who / f"{who}.key")


def new_plan(folder: Path, *options: str) -> Path:
    named = ("--agreement", folder / "agreement.json", "--coordinator", "acme", "--keys", folder, "--name", "kinases")
    run("plan", "new", folder / "plan.json", "kiba-sample", *named, *options)
    return folder / "plan.json"


def test_a_policy_is_opened_narrowed_and_shown(folder: Path) -> None:
    path = folder / "policy.json"
    run("policy", "open", path, *papers(folder))
    run("policy", "revoke", path, *papers(folder), "--grant", "1")
    few = ("--action", "train-on", "--action", "process", "--resource", "dataset", "--partner", "borealis")
    run("policy", "grant", path, *papers(folder), *few, "--days", "7")
    text = run("policy", "show", path, "--agreement", folder / "agreement.json")
    assert "policy of acme in aurora, serial 3" in text
    assert "grant 1: every partner that the agreement allows may audit" in text
    assert "REVOKED" in text.splitlines()[-2]
    assert text.splitlines()[-1].startswith("grant 2: borealis may process, train-on dataset of all data sets, until")
    assert len(read_policy(path).policy.grants) == 2


def test_a_plan_names_each_share_by_its_owner_s_commitment(folder: Path) -> None:
    signed = read_plan(new_plan(folder, "--rounds", "2"))
    assert signed.plan.partners == ("acme", "borealis")
    assert len({one.commitment for one in signed.plan.datasets}) == 2
    assert '"n_rounds": 2' in run("plan", "show", folder / "plan.json", "--json")
    assert "approved by nobody yet" in run("plan", "show", folder / "plan.json")


SITE = """\
partner = "{0}"
key = "{0}.key"
commitment = "{0}.key.commitment"
agreement = "agreement.json"
plan = "plan.json"
policy = "policy.json"
ledger = "ledger"
state = "state"

[data]
"""
TASKS = 'kind = "tasks"\nfolder = "prepared"\ntrain_folds = [0]\nvalid_folds = [1]\n'


def commitments_at_home(folder: Path) -> tuple[list[str], str]:
    """What each owner prints at its own site, as options; and the recipe."""
    for name in ("acme", "borealis"):
        shutil.copy(folder / "agreement.json", folder / name / "agreement.json")
    lines = [run("plan", "commitment", folder / name).splitlines() for name in ("acme", "borealis")]
    (recipe,) = {recipe for _, recipe in lines}
    return [word for made, _ in lines for word in made.split()], recipe.removeprefix("recipe: ")


def test_commitments_made_at_home_enter_a_plan(folder: Path) -> None:
    chosen = replace(SETTINGS, n_partners=2)
    share_to_sites(folder, chosen, ("acme", "borealis"))
    options, recipe = commitments_at_home(folder)
    named = ("--agreement", folder / "agreement.json", "--coordinator", "acme", "--name", "kinases")
    run("plan", "new", folder / "plan.json", "kiba-sample", *named, *options, "--rounds", "2")
    plan = read_plan(folder / "plan.json").plan
    assert [f"{one.partner}={one.commitment}" for one in plan.datasets] == options[1::2]
    assert plan.recipe == recipe
    require_planned(chosen, plan)
    for name in ("acme", "borealis"):
        assert site_commitment(read_site(folder / name), "aurora") in {one.commitment for one in plan.datasets}


def test_a_plan_on_many_tasks_says_all_of_its_training(folder: Path) -> None:
    recipe = Recipe(profile=PrepareProfile(), rdkit="2026.09.1", key_commitment="ab" * 32, reference="cd" * 32)
    for name, part in zip(("acme", "borealis"), partners(2), strict=True):
        write_prepared(folder / name / "prepared", replace(part, recipe_digest=recipe.digest), recipe, {})
        (folder / name / "site.toml").write_text(SITE.format(name) + TASKS)
    options, digest = commitments_at_home(folder)
    assert digest == recipe.digest
    named = ("--agreement", folder / "agreement.json", "--coordinator", "acme", "--name", "panel", "--recipe", digest)
    chosen = ("--bits", "64", "--trunk", "12-10", "--head", "6", "--shared-classification", "herg", "--rounds", "4")
    run("plan", "new-tasks", folder / "panel.json", *named, *options, *chosen)
    plan = read_plan(folder / "panel.json").plan
    assert (plan.partners, plan.recipe) == (("acme", "borealis"), digest)
    training = training_plan_of(plan)
    assert isinstance(training.local, MultitaskSettings)
    assert (training.local.trunk, training.local.head, training.local.drop_round) == ((12, 10), (6,), 2)
    assert (training.local.catalogue_classification, training.schedule.rounds) == (("herg",), 4)
    for wrong, words in (
        (("--trunk", "wide"), "takes widths"),
        (("--method", "fedsgd+private-head"), "private anyway"),
        (("--local-epochs", "2"), "fedsgd goes through the rows once a round"),
    ):
        with pytest.raises(OptionError, match=words):
            run("plan", "new-tasks", folder / "other.json", *named, *options, *wrong)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ((), InputError, "give --keys"),
        (("--commitment", "acme"), OptionError, "is PARTNER=HEX"),
        (("--commitment", f"acme={'ab' * 32}"), OptionError, "at least two data owners"),
        (("--commitment", f"acme={'ab' * 32}") * 2, OptionError, "once for each partner"),
        (("--commitment", f"stranger={'ab' * 32}"), OptionError, "the data owners are acme, borealis"),
        (("--commitment", "acme=ab"), TermsError, "--commitment acme"),
    ],
)
def test_what_is_no_commitment_enters_no_plan(
    folder: Path, options: tuple[str, ...], error: type[PharmoniaError], words: str
) -> None:
    named = ("--agreement", folder / "agreement.json", "--coordinator", "acme", "--name", "kinases")
    with pytest.raises(error, match=words):
        run("plan", "new", folder / "plan.json", "kiba-sample", *named, *options)
    assert not (folder / "plan.json").exists()


def test_a_new_plan_or_policy_never_replaces_another(folder: Path) -> None:
    new_plan(folder)
    run("policy", "open", folder / "policy.json", *papers(folder))
    before = {path: path.read_bytes() for path in (folder / "plan.json", folder / "policy.json")}
    with pytest.raises(InputError, match=r"plan.json exists"):
        new_plan(folder)
    with pytest.raises(InputError, match=r"policy.json exists"):
        run("policy", "open", folder / "policy.json", *papers(folder))
    assert {path: path.read_bytes() for path in before} == before


def test_bad_input_names_what_is_wrong_and_changes_nothing(folder: Path) -> None:
    plan, policy = new_plan(folder), folder / "policy.json"
    run("policy", "open", policy, *papers(folder))
    other = folder / "other.json"
    write_plan(other, replace(read_plan(plan), plan=replace(read_plan(plan).plan, seed=9)))
    agreement = ("--agreement", folder / "agreement.json")
    half = ("--plan", plan, "--ledger", folder / "ledger")
    before = {path: path.read_bytes() for path in folder.rglob("*.json")}
    bad: list[tuple[tuple[str | Path, ...], type[PharmoniaError], str]] = [
        (("plan", "approve", plan, *agreement), InputError, "give --key to approve"),
        (("plan", "approve", plan, *papers(folder, "stranger")), AgreementError, "belongs to no partner"),
        (("plan", "approve", plan, *agreement, "--from", other), DocumentError, "a copy is of another plan"),
        (("plan", "check", plan, *agreement, "--policy", policy), RefusedError, "acme has not approved it"),
        (("plan", "show", policy), DocumentError, "expected a document of format"),
        (
            ("policy", "open", folder / "p.json", *papers(folder, "stranger")),
            AgreementError,
            "belongs to no partner",
        ),
        (("policy", "revoke", policy, *papers(folder), "--grant", "2"), TermsError, "no grant 2 that stands"),
        (("policy", "revoke", policy, *papers(folder, "borealis")), DocumentError, "only acme may sign it"),
        (
            ("policy", "grant", policy, *papers(folder), "--action", "sell", "--resource", "dataset"),
            InputError,
            "--action is one of process",
        ),
        (
            ("policy", "grant", policy, *papers(folder), "--action", "audit", "--resource", "dataset", "--days", "0"),
            InputError,
            "--days is 1 to 36500",
        ),
        (("ledger", "prove", folder, *agreement, "--entry", "0"), InputError, "cannot read .*checkpoints.jsonl"),
        (("ledger", "cosign", folder, *agreement), InputError, "give --key to sign"),
        (("compare", "kiba-sample", *half), OptionError, "give all four or none"),
    ]
    for arguments, error, message in bad:
        with pytest.raises(error, match=message):
            run(*arguments)
    assert {path: path.read_bytes() for path in folder.rglob("*.json")} == before


# A ledger's commands, on a ledger that a run of nothing wrote


def small_ledger(folder: Path) -> Path:
    """Two entries and a checkpoint of the coordinator's copy."""
    from pharmonia.governance.events import AgreementAdopted, PlanFiled
    from pharmonia.run.documents import read_agreement
    from pharmonia.run.witness import open_witness

    now = datetime.now(UTC)
    history = read_agreement(folder / "agreement.json")
    key = read_key(folder / "acme" / "acme.key", None)
    digest = history.versions[0].agreement.digest
    with open_witness("acme", key, history, folder / "ledger") as witness:
        witness.take([witness.state([AgreementAdopted(version=1, agreement=digest)], now)])
        witness.keep(witness.propose(now))
        witness.take([witness.state([PlanFiled(plan="ab" * 32)], now)])
        witness.keep(witness.propose(now))
    return folder / "ledger"


def test_proofs_that_are_printed_hold(folder: Path) -> None:
    ledger, agreement = small_ledger(folder), ("--agreement", folder / "agreement.json")
    old, new = (decode_checkpoint(line).checkpoint for line in (ledger / "checkpoints.jsonl").read_bytes().splitlines())
    lines = (ledger / "entries.jsonl").read_bytes().splitlines()
    for place, line in enumerate(lines):
        proof = decode_inclusion(run("ledger", "prove", ledger, *agreement, "--entry", str(place)).strip().encode())
        assert proof.shows(line, new)
        assert not proof.shows(line, old)
    grown = decode_consistency(run("ledger", "prove", ledger, *agreement, "--since", "1").strip().encode())
    assert grown.shows(old, new)
    with pytest.raises(InputError, match="either --entry or --since"):
        run("ledger", "prove", ledger, *agreement)
    with pytest.raises(ProofError, match="has no leaf 2"):
        run("ledger", "prove", ledger, *agreement, "--entry", "2")


def test_a_ledger_is_shown_a_line_an_event_with_partners_by_name(folder: Path) -> None:
    ledger = small_ledger(folder)
    first, second = run("ledger", "show", ledger, "--agreement", folder / "agreement.json").splitlines()
    assert first.split()[0] == "0"
    assert "acme" in first
    assert "agreement: version 1" in first
    assert second.endswith("plan: plan abababababababab")
    assert decode_entry((ledger / "entries.jsonl").read_bytes().splitlines()[0]).key in run("ledger", "show", ledger)


def cut(ledger: Path) -> None:
    path = ledger / "entries.jsonl"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])


def flip(ledger: Path) -> None:
    path = ledger / "entries.jsonl"
    path.write_bytes(path.read_bytes().replace(b"abab", b"abac", 1))


@pytest.mark.parametrize("damage", [cut, flip])
def test_what_a_copy_does_not_hash_to_is_not_cosigned(folder: Path, damage: Callable[[Path], None]) -> None:
    ledger = small_ledger(folder)
    damage(ledger)
    with pytest.raises(LedgerError, match=r"entries are missing|are not those of the checkpoint"):
        run("ledger", "cosign", ledger, *papers(folder, "borealis"))


def test_a_cosigned_copy_gives_its_signature_to_another(folder: Path) -> None:
    ledger = small_ledger(folder)
    shutil.copytree(ledger, folder / "copy")
    assert "of borealis" in run("ledger", "cosign", folder / "copy", *papers(folder, "borealis"))
    assert "of borealis" not in run("ledger", "cosign", ledger, *papers(folder))
    agreement = ("--agreement", folder / "agreement.json")
    assert "of borealis" in run("ledger", "cosign", ledger, *agreement, "--from", folder / "copy")
    with pytest.raises(AgreementError, match="belongs to no partner"):
        run("ledger", "cosign", ledger, *papers(folder, "stranger"))
    assert "VERIFIED" in run("verify", ledger, *agreement)


def test_the_owners_of_the_shares_are_the_plan_s_partners_in_order() -> None:
    assert the_plan().partners == OWNERS
