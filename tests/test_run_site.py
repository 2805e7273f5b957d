"""A partner's site: the same run as in one process, what it refuses before it opens its data, and how it goes on."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from governance_cases import CODE, NOW, OWNERS
from pharmonia.base.errors import (
    RefusedError,
)
from pharmonia.bench.settings import ComparisonSettings
from pharmonia.bench.simulation import interaction_learners, simulate
from pharmonia.bench.sites import partner_share
from pharmonia.governance.events import PlanRefused, RoundAggregated, RoundOpened
from pharmonia.governance.terms import CodeIdentity, RefusalCode
from pharmonia.learn.messages import SessionRequest, encode
from pharmonia.learn.settings import Aggregation
from pharmonia.run import seat, site
from pharmonia.run.coordinator import Coordinator
from pharmonia.run.records import RoundRecord, TrainedModel, TrainingPlan
from pharmonia.run.refusals import decode_refusal
from pharmonia.run.site import open_site
from pharmonia.run.store import RunStore
from run_cases import NEVER, essence
from site_cases import COORDINATOR, Consortium, history, settings

EVERYBODY = (*OWNERS, COORDINATOR)


@pytest.fixture(autouse=True)
def _code(monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs here is what the plan names, whatever is edited meanwhile."""
    for module in (site, seat):
        monkeypatch.setattr(module, "installed_code", lambda: CODE)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Consortium:
    return Consortium(folder=tmp_path_factory.mktemp("aurora"), settings=settings(), history=history()).found()


@pytest.fixture
def aurora(original: Consortium, tmp_path: Path) -> Consortium:
    return original.copied(tmp_path / "aurora")


@pytest.fixture(scope="module")
def in_process(tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    return bench_run(tmp_path_factory.mktemp("bench"), settings())


def bench_run(folder: Path, chosen: ComparisonSettings) -> TrainedModel:
    """The federated run of a comparison, as `bench.training` makes it."""
    datasets = [(index, partner_share(chosen, index, f"partner {index + 1}")) for index in range(3)]
    learners = interaction_learners(datasets, chosen.local, chosen.method, chosen.seeds[0])
    made = simulate(learners, Aggregation.SECURE, folder)
    plan = TrainingPlan(local=chosen.local, method=chosen.method, schedule=chosen.schedule, seed=chosen.seeds[0])
    store = RunStore(f"sqlite:///{folder / 'runs.sqlite'}", folder)
    store.open_run("run", {}, NOW)
    return Coordinator(plan, made.engine, made.sums, store, "run", NEVER, made.sum_error).train(lambda record: None)


def test_a_run_between_sites_gives_bit_for_bit_the_model_of_one_process(
    aurora: Consortium, in_process: TrainedModel
) -> None:
    model = aurora.run()
    assert essence(model) == essence(in_process)
    np.testing.assert_array_equal(model.parameters, in_process.parameters)


def test_every_copy_of_the_ledger_is_the_same_and_verifies(aurora: Consortium) -> None:
    model = aurora.run()
    for name in ("entries.jsonl", "checkpoints.jsonl"):
        assert len({(aurora.ledger(one) / name).read_bytes() for one in EVERYBODY}) == 1
    for name in EVERYBODY:
        assert aurora.verify(name).failed == ()
    aggregates = [one.aggregate for one in aurora.events() if isinstance(one, RoundAggregated)]
    assert aggregates == [record.aggregate_digest for record in model.rounds]


def test_fedsgd_with_private_norms_is_the_same_between_sites_and_each_keeps_its_norms(
    original: Consortium, tmp_path: Path
) -> None:
    place = original.copied(tmp_path / "aurora")
    place.settings = settings("fedsgd+private-norms", rounds=1, batch_size=2048)
    place.file(place.drafted())
    model = place.run()
    assert essence(model) == essence(bench_run(tmp_path / "bench", place.settings))
    for owner in OWNERS:
        assert len(list((place.folder / owner / "state").glob("*/private.safetensors"))) == 1


# What a site refuses before it opens its data


def no_arrays(place: Consortium, owner: str) -> None:
    """Whoever opens a data file of that owner is found out: none is there."""
    for path in (place.folder / owner / "data").glob("*.npy"):
        path.unlink()


def revoked(place: Consortium) -> None:
    place.revoke("borealis")


def other_code(place: Consortium) -> None:
    code = CodeIdentity(package="ff" * 32, environment=CODE.environment)
    place.file(replace(place.drafted(), code=code), OWNERS)


def for_someone_else(place: Consortium) -> None:
    plan = place.drafted()
    others = tuple(one for one in plan.datasets if one.partner != "borealis")
    sums = replace(plan.aggregation, n_colluders=0)
    place.file(replace(plan, datasets=others, aggregation=sums), ("borealis",))


def other_agreement(place: Consortium) -> None:
    place.amend("borealis")


def wrong_data(place: Consortium) -> None:
    manifest, other = (place.folder / name / "data" / "site-data.json" for name in ("borealis", "acme"))
    manifest.write_bytes(other.read_bytes())


def other_recipe(place: Consortium) -> None:
    place.file(replace(place.drafted(), recipe="ab" * 32))


REFUSED: list[tuple[Callable[[Consortium], None], RefusalCode]] = [
    (revoked, RefusalCode.GRANT_REVOKED),
    (wrong_data, RefusalCode.DATASET),
    (other_recipe, RefusalCode.DATASET),
]


@pytest.mark.parametrize(("change", "code"), REFUSED)
def test_a_refusal_comes_before_any_data_and_its_reason_is_on_every_ledger(
    aurora: Consortium, change: Callable[[Consortium], None], code: RefusalCode
) -> None:
    change(aurora)
    no_arrays(aurora, "borealis")
    with pytest.raises(RefusedError, match="borealis refuses"):
        aurora.run()
    plan = aurora.signed.plan.digest
    for name in EVERYBODY:
        assert PlanRefused(plan=plan, code=code) in aurora.events(name)
    assert aurora.verify().failed == ()
    assert not any(isinstance(event, RoundOpened) for event in aurora.events())


SESSION = encode(SessionRequest(session=bytes(32)))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (other_code, RefusalCode.CODE_DIFFERS),
        (for_someone_else, RefusalCode.DATASET),
        (other_agreement, RefusalCode.OTHER_AGREEMENT),
        *REFUSED,
    ],
)
def test_a_site_alone_refuses_whatever_it_is_asked(
    aurora: Consortium, change: Callable[[Consortium], None], code: RefusalCode
) -> None:
    change(aurora)
    no_arrays(aurora, "borealis")
    with open_site(aurora.folder / "borealis", now=aurora.now) as borealis:
        for frame in (SESSION, b"PHM1" + bytes(40), b"nonsense"):
            refusal = decode_refusal(borealis.handle(frame))
            assert [event.code for event in refusal.entry.events if isinstance(event, PlanRefused)] == [code]
            assert refusal.reason.startswith("borealis refuses: ")


def test_the_policy_counts_at_the_next_frame(aurora: Consortium) -> None:
    def stop(record: RoundRecord) -> None:
        aurora.revoke("borealis")

    with pytest.raises(RefusedError, match="borealis refuses"):
        aurora.run(stop)
    assert aurora.events()[-1] == PlanRefused(plan=aurora.signed.plan.digest, code=RefusalCode.GRANT_REVOKED)
    assert aurora.verify("cygnus").failed == ()
