"""What a run between organisations left at a site becomes its bundle, and predicts what the site's scores say."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import bundle_cases
from bundle_cases import FOLDS, few_references, prepare_partner
from governance_cases import OWNERS
from pharmonia.base.errors import AgreementError, InputError, OptionError, PharmoniaError, StoreError
from pharmonia.cli.main import app
from pharmonia.run.bundle import read_bundle
from pharmonia.run.bundle_site import read_site_run
from pharmonia.run.delivered import read_delivered
from pharmonia.run.documents import write_agreement, write_plan
from pharmonia.run.plan_settings import listed
from pharmonia.run.planned_tasks import MULTITASK, multitask_method_settings, multitask_model_settings
from pharmonia.run.prepare_files import COMPOUND_ROWS, write_prepared
from pharmonia.run.prepare_key import write_preparation_key
from prepare_cases import KEY
from site_cases import Consortium, fixed_code, history, settings

SETTINGS = replace(bundle_cases.SETTINGS, local_epochs=1)  # as FedSGD takes it

SITE = """\
[data]
kind = "tasks"
folder = "prepared"
train_folds = [0]
valid_folds = [1]
"""


@pytest.fixture(scope="module")
def aurora(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    """Three partners with the same tasks, trained for one round."""
    with pytest.MonkeyPatch.context() as patch, fixed_code():
        few_references(patch)
        source = tmp_path_factory.mktemp("prepared")
        prepared, recipe = prepare_partner(source)
        listed_forms = (source / "prepared" / COMPOUND_ROWS).read_bytes()
        place = Consortium(
            folder=tmp_path_factory.mktemp("aurora"), settings=settings(rounds=1), history=history()
        ).found()
        for owner in OWNERS:
            home = place.folder / owner
            write_prepared(home / "prepared", prepared, recipe, {COMPOUND_ROWS: listed_forms})
            text, _, _ = (home / "site.toml").read_text().partition("[data]")
            (home / "site.toml").write_text(text + SITE)
        place.file(
            replace(
                place.drafted(),
                recipe=recipe.digest,
                model=MULTITASK,
                model_settings=listed(multitask_model_settings(SETTINGS)),
                method="fedsgd",
                method_settings=listed(multitask_method_settings(SETTINGS, patience=5)),
            )
        )
        place.run()
        yield place


@pytest.fixture
def site(aurora: Consortium, tmp_path: Path) -> Path:
    shutil.copytree(aurora.folder / "acme", tmp_path / "acme")
    return tmp_path / "acme"


def state_of(site: Path) -> Path:
    (folder,) = (site / "state").iterdir()
    return folder


def test_a_site_s_run_is_read_with_its_own_papers(aurora: Consortium, site: Path) -> None:
    trained, note, notes = read_site_run(site, None)
    plan, model = aurora.signed.plan, read_delivered(state_of(site) / "model.safetensors")
    np.testing.assert_array_equal(trained.shared, model.parameters)
    assert (trained.name, trained.settings, trained.folds, trained.alone) == ("acme", SETTINGS, FOLDS, None)
    assert (note.run_id, note.method) == (plan.digest[:16], "fedsgd")
    assert (note.plan_digest, note.agreement_digest) == (plan.digest, plan.agreement)
    assert notes == {}


def test_the_command_makes_a_bundle_whose_card_has_the_scores_of_the_site(site: Path, tmp_path: Path) -> None:
    arguments = ["export", "--site", str(site), "--out", str(tmp_path / "bundle"), "--json"]
    found = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert found.exit_code == 0
    bundle = read_bundle(tmp_path / "bundle")
    assert bundle.digest == json.loads(found.stdout)["digest"]
    provenance = bundle.contents.card.provenance
    assert provenance.model_digest == read_delivered(state_of(site) / "model.safetensors").aggregate
    scores = json.loads((state_of(site) / "scores.json").read_bytes())
    assert scores["problem"] == ""
    assert sorted(scores["parts"]) == ["test", "valid"]
    for task in bundle.contents.card.tasks:
        own = scores["parts"]["test"][task.task_id]
        assert (own["n_rows"], own["n_bounds"]) == (task.n_test, 0)
        shared = [one for one in task.scores if one.metric in own and own[one.metric] is not None]
        assert shared
        for one in shared:
            assert one.model == pytest.approx(own[one.metric], rel=1e-12)


def test_with_the_key_a_site_s_bundle_knows_its_domain(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHARMONIA_CACHE", str(tmp_path / "cache"))
    write_preparation_key(tmp_path / "consortium.key", KEY)
    base = ["export", "--site", str(site), "--out"]
    with_key = [*base, str(tmp_path / "a"), "--key", str(tmp_path / "consortium.key")]
    found = CliRunner().invoke(app, with_key, catch_exceptions=False)
    domain = read_bundle(tmp_path / "a").contents.domain
    assert domain is not None
    assert f"domain  {domain.seen.size:,} environments trained on" in found.stdout
    found = CliRunner().invoke(app, [*base, str(tmp_path / "b")], catch_exceptions=False)
    assert read_bundle(tmp_path / "b").contents.domain is None
    assert "domain  not known, so no prediction will be marked in domain: name --key" in found.stdout


def no_model(site: Path) -> None:
    (state_of(site) / "model.safetensors").unlink()


def other_model(site: Path) -> None:
    path = state_of(site) / "model.safetensors"
    model = read_delivered(path)
    path.write_bytes(replace(model, parameters=model.parameters + 1.0).file())


def no_ledger(site: Path) -> None:
    shutil.rmtree(site / "ledger")


def other_private_part(site: Path) -> None:
    (state_of(site) / "private.safetensors").write_bytes(b"")


def no_test_fold(site: Path) -> None:
    path = site / "site.toml"
    path.write_text(path.read_text().replace("train_folds = [0]", "train_folds = [0, 2]"))


def interactions(site: Path) -> None:
    path = site / "site.toml"
    text, _, _ = path.read_text().partition("[data]")
    path.write_text(text + '[data]\nkind = "interactions"\nfolder = "data"\n')


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (no_model, InputError, "no model of plan kinases was delivered to acme"),
        (other_model, StoreError, "is not the model of plan kinases that our ledger shows"),
        (no_ledger, StoreError, "is not the model of plan kinases that our ledger shows"),
        (other_private_part, StoreError, "damaged"),
        (no_test_fold, StoreError, "was trained on other data"),
        (interactions, OptionError, "bundles are of data of many tasks"),
    ],
)
def test_nothing_is_exported_that_the_site_s_own_files_do_not_bear_out(
    site: Path, change: object, error: type[PharmoniaError], words: str
) -> None:
    assert callable(change)
    change(site)
    with pytest.raises(error, match=words):
        read_site_run(site, None)


def test_a_plan_under_another_agreement_is_not_exported(aurora: Consortium, site: Path) -> None:
    write_agreement(site / "agreement.json", history("acme"))
    write_plan(site / "plan.json", aurora.signed)
    with pytest.raises(AgreementError, match="under no accepted version"):
        read_site_run(site, None)


@pytest.mark.parametrize("arguments", [[], ["run"], ["--site", "s", "--partner", "acme"], ["run", "--site", "s"]])
def test_a_bundle_is_of_a_run_s_partner_or_of_a_site(arguments: list[str]) -> None:
    found = CliRunner().invoke(app, ["export", *arguments, "--out", "b"])
    assert isinstance(found.exception, InputError)
    assert "give RUN with --partner, or --site alone" in str(found.exception)
